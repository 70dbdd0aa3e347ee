"""The metrics of a shadow."""

from __future__ import annotations

from serving.shadow.counts import Compared, Counts
from serving.watch.shadow_metrics import ShadowMetrics
from tests.serving.conftest import sample

OWN = {"modality": "text", "cascade": "a", "shadow": "b"}


def test_counters_add_up_and_gauges_have_the_last_word(clean_registry: None) -> None:
    reporter = ShadowMetrics().reporter("text", "a", "b")
    counts = Counts()
    counts.outcomes["same"], counts.outcomes["dropped"] = 1_300, 4
    counts.escalations(served=False, shadow=True)
    counts.model_ms.add(2.0, 30.0)
    compared = Compared.of(counts, margin=0.005)
    reporter.counted(counts, compared)
    reporter.counted(counts, compared)
    assert sample("sieve_shadow_items_total", **OWN, outcome="same") == 2_600
    assert sample("sieve_shadow_items_total", **OWN, outcome="dropped") == 8
    assert sample("sieve_shadow_escalated_total", **OWN, side="shadow") == 2
    assert sample("sieve_shadow_escalated_total", **OWN, side="served") == 0
    assert sample("sieve_shadow_model_seconds_total", **OWN, side="shadow") == 0.06
    assert sample("sieve_shadow_difference", **OWN, bound="low") == compared.difference.low > -0.005
    assert sample("sieve_shadow_verdict", **OWN) == 1
    reporter.counted(Counts(), Compared.of(Counts(), margin=0.005))
    assert sample("sieve_shadow_verdict", **OWN) == 0


def test_items_are_timed_on_both_sides(clean_registry: None) -> None:
    reporter = ShadowMetrics().reporter("text", "a", "b")
    reporter.took(0.002, 0.02)
    assert sample("sieve_shadow_seconds_sum", **OWN, side="served") == 0.002
    assert sample("sieve_shadow_seconds_sum", **OWN, side="shadow") == 0.02
