"""The metrics of an expert's process."""

from __future__ import annotations

import pytest

from serving.watch.expert_metrics import ExpertMetrics
from tests.serving.conftest import sample

INFO = {
    "model": "expert:1",
    "digest": "2" * 64,
    "variant": "cpu-int8",
    "provider": "CPUExecutionProvider",
    "device": "cpu",
}


def test_an_expert_counts_its_runs(clean_registry: None) -> None:
    metrics = ExpertMetrics("text", None, False, **INFO)
    metrics.ran(3, 16, 0.02)
    assert sample("sieve_expert_batch_size_sum", modality="text") == 3
    assert sample("sieve_expert_run_seconds_sum", modality="text") == 0.02
    metrics.ran(1, 16, 0.01)
    assert sample("sieve_expert_work_seconds_total", modality="text") == pytest.approx(0.02 + 0.02 / 3)
    assert sample("sieve_model_info", modality="text", role="expert", **INFO) == 1
    assert sample("sieve_golden_holds", modality="text", role="expert") == 0


def test_the_expert_of_one_of_several_cascades_has_its_name_on_its_series(clean_registry: None) -> None:
    metrics = ExpertMetrics("text", None, True, cascade="b", **INFO)
    metrics.ran(2, 16, 0.02)
    of = {"modality": "text", "cascade": "b"}
    assert sample("sieve_expert_batch_size_sum", **of) == 2
    assert sample("sieve_golden_holds", **of, role="expert") == 1
    assert sample("sieve_model_info", **of, role="expert", **INFO) == 1
