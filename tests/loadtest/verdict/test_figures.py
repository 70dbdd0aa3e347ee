"""Percentiles, intervals, shares, and where the time went."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.verdict.figures import GROUPS, breakdown, estimates, figures, grouped, percentile
from tests.loadtest.outcomes import outcome

MS = st.floats(0, 200).map(lambda v: round(v, 3))
PARTS = st.dictionaries(
    st.sampled_from(["admission", "read", "tokenise", "screen", "queue", "expert", "hop", "new"]), MS
)


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=60), share=st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_a_percentile_is_a_value_that_came(values: list[float], share: float) -> None:
    got = percentile(values, share)
    assert got == np.quantile(values, share, method="inverted_cdf")
    assert sum(value <= got for value in values) >= share * len(values) - 1e-9


def test_a_percentile_of_nothing_and_of_the_infinite() -> None:
    assert math.isnan(percentile([], 0.5))
    assert percentile([1.0, math.inf, math.inf], 0.5) == math.inf


def queue_ms(rng: np.random.Generator, count: int) -> np.ndarray:
    """Waits and service of a queue with one server, at 0.7 of its capacity (Lindley 1952): neighbours are alike."""
    service, gap = rng.exponential(7.0, count), rng.exponential(10.0, count)
    wait, waits = 0.0, np.empty(count)
    for place in range(count):
        waits[place] = wait + service[place]
        wait = max(0.0, waits[place] - gap[place])
    return waits


def test_the_intervals_cover_the_truth_of_a_queue() -> None:
    rng = np.random.default_rng(5)
    truth = {"p50": math.log(2), "p90": math.log(10)}
    mean_ms = 7.0 / (1 - 0.7)  # an M/M/1 queue's time in system is exponential
    covered = dict.fromkeys(truth, 0)
    for _ in range(60):
        found = estimates(np.arange(6_000) / 100, queue_ms(rng, 6_500)[500:])
        for name, factor in truth.items():
            assert found[name].enough
            covered[name] += found[name].low_ms <= factor * mean_ms <= found[name].high_ms
    # 95 of 100 are promised; 60 queues at that rate fall below 48 once in 100,000 times.
    assert min(covered.values()) >= 48, covered


def test_a_short_run_has_an_interval_too() -> None:
    rng = np.random.default_rng(1)
    found = estimates(np.sort(rng.random(300)) * 0.9, rng.exponential(10, 300))
    assert found["p50"].low_ms < found["p50"].value_ms < found["p50"].high_ms
    assert [found[name].enough for name in ("p50", "p90", "p99", "p99.9")] == [True, True, False, False]


def test_who_got_no_answer_is_infinitely_late() -> None:
    outcomes = [outcome(10.0, due_s=i / 100, kind="shed" if i % 10 == 0 else "ok") for i in range(2_000)]
    found = figures(outcomes, 20.0, 50.0, 0.0)
    assert found["latency_ms"]["p99"]["ms"] == 10
    assert found["asked_ms"]["p50"]["ms"] == 10
    assert found["asked_ms"]["p99"] == {"ms": None, "low_ms": None, "high_ms": None, "too_few_samples": False}
    json.dumps(found, allow_nan=False)


def test_rates_and_shares_are_of_what_they_say() -> None:
    outcomes = [
        outcome(10.0, stage="screen", right=True),
        outcome(60.0, stage="expert", right=True, shape="long"),
        outcome(20.0, stage="screen", kind="degraded", right=False),
        outcome(20.0, stage="screen", right=None),
        outcome(1.0, kind="shed", status=503),
        outcome(2000.0, kind="timed out", status=0),
    ]
    found = figures(outcomes, 2.0, 50.0, 0.0)
    assert found["outcomes"] == {"ok": 3, "degraded": 1, "shed": 1, "timed out": 1, "failed": 0}
    assert (found["offered_per_s"], found["in_time"], found["goodput_per_s"]) == (3.0, 3, 1.5)
    assert (found["degraded_share"], found["escalation_share"]) == (0.25, 0.5)
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert {shape: row["requests"] for shape, row in found["by_shape"].items()} == {"short": 3, "long": 1}
    assert found["by_shape"]["long"]["p50"] == 60.0
    json.dumps(figures([], 1.0, 50.0, 0.0), allow_nan=False)
    nothing = figures([outcome(kind="failed")], 1.0, 50.0, 0.0)
    assert nothing["accuracy"] is None
    assert nothing["parts"] == {"all": None, "slowest": None}


@given(parts=PARTS, unnamed=MS, outside=MS, lag=MS, network=MS, states_total=st.booleans())
def test_the_groups_add_up_to_the_latency(
    parts: dict[str, float], unnamed: float, outside: float, lag: float, network: float, states_total: bool
) -> None:
    total = sum(parts.values()) + unnamed
    stated = {**parts, "total": round(total, 3)} if states_total else parts
    one = outcome(total + outside + lag, lag_ms=lag, parts=stated)
    groups = grouped(one, network)
    assert set(groups) == set(GROUPS)
    assert min(groups.values()) >= -1e-6
    assert sum(groups.values()) == pytest.approx(one.latency_ms, abs=0.01)
    assert groups["generator"] == lag


def test_what_passes_outside_is_network_first_and_then_queueing() -> None:
    parts = {"read": 1, "tokenise": 2, "screen": 3, "queue": 4, "expert": 5, "hop": 6, "encode": 1, "total": 22}
    groups = grouped(outcome(32.0, parts=parts), 3.0)
    assert groups == {"network": 6 + 3, "serialization": 2, "pre-processing": 2, "queueing": 4 + 7, "inference": 8,
                      "other": 0, "generator": 0}  # fmt: skip
    assert grouped(outcome(9.0), 3.0)["other"] == 9.0, "a server that states nothing"


def test_the_slowest_are_the_slowest_twentieth() -> None:
    answers = [outcome(float(i), parts={"screen": i / 2, "total": float(i)}) for i in range(1, 101)]
    found = breakdown(answers, 0.0)
    assert found["all"]["latency_ms"] == 50.5
    assert found["slowest"]["latency_ms"] == 98.0
    assert found["slowest"]["groups_ms"]["inference"] == found["slowest"]["server_ms"]["screen"] == 49.0
    assert sum(found["slowest"]["groups_ms"].values()) == pytest.approx(98.0)
