"""The figures of a run: rates, shares, and latencies of answers and of all requests."""

from __future__ import annotations

import json

import pytest

from loadtest.verdict.figures import figures
from tests.loadtest.replies import reply


def test_who_got_no_answer_is_infinitely_late() -> None:
    replies = [reply(10.0, due_s=i / 100, kind="shed" if i % 10 == 0 else "ok") for i in range(2_000)]
    found = figures(replies, 20.0, 50.0, 0.0)
    assert found["latency_ms"]["p99"]["ms"] == 10
    assert found["asked_ms"]["p50"]["ms"] == 10
    assert found["asked_ms"]["p99"] == {"ms": None, "low_ms": None, "high_ms": None, "too_few_samples": False}
    json.dumps(found, allow_nan=False)


def test_rates_and_shares_are_of_what_they_say() -> None:
    replies = [
        reply(10.0, stage="screen", right=True),
        reply(60.0, stage="expert", right=True, shape="long"),
        reply(20.0, stage="screen", kind="degraded", right=False),
        reply(20.0, stage="screen", right=None),
        reply(1.0, kind="shed", status=503),
        reply(2000.0, kind="timed out", status=0),
    ]
    found = figures(replies, 2.0, 50.0, 0.0)
    assert found["outcomes"] == {"ok": 3, "degraded": 1, "shed": 1, "timed out": 1, "failed": 0}
    assert (found["offered_per_s"], found["in_time"], found["full"]) == (3.0, 3, 2)
    assert (found["goodput_per_s"], found["goodput_with_degraded_per_s"]) == (1.0, 1.5), "a degraded answer is not full"
    assert (found["degraded_share"], found["escalation_share"]) == (0.25, 0.5)
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert {shape: row["requests"] for shape, row in found["by_shape"].items()} == {"short": 3, "long": 1}
    assert found["by_shape"]["long"]["p50"] == 60.0
    json.dumps(figures([], 1.0, 50.0, 0.0), allow_nan=False)
    nothing = figures([reply(kind="failed")], 1.0, 50.0, 0.0)
    assert nothing["accuracy"] is None
    assert nothing["parts"] == {"all": None, "slowest": None}
