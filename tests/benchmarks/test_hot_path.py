"""The parts of the hot path's benchmark that need no load."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import hot_path
from benchmarks.hot_path import alone, degraded_answers, timed
from benchmarks.texts import text_of
from serving.model.artifact import Artifact
from tests.conftest import TinyCascades

METRICS = """
# TYPE sieve_answers_total counter
sieve_answers_total{stage="screen",degraded="no"} 90
sieve_answers_total{stage="screen",degraded="gone"} 5
sieve_answers_total{stage="screen",degraded="late"} 3
sieve_answers_total{stage="screen",degraded="down"} 1
"""


def test_a_lost_escalation_is_one_whose_client_was_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_path.httpx, "get", lambda url: SimpleNamespace(text=METRICS))
    assert degraded_answers("http://x") == 4


def test_calls_that_warm_up_are_not_counted() -> None:
    calls: list[None] = []
    took = timed(lambda: calls.append(None), 0.01)
    assert len(calls) == len(took) + 3
    assert min(took) >= 0


def test_a_model_alone_is_timed_with_and_without_its_tokeniser(
    tiny_cascades: TinyCascades, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_path, "SECONDS", 0.2)
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "expert"))
    found = alone(artifact, text_of(20, artifact))
    assert set(found) == {"p50_ms", "run_p50_ms", "1_per_s", "32_per_s"}
    assert min(found.values()) > 0
