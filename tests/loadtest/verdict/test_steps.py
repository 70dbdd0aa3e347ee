"""What became of the requests at each rate, and whether the service bears overload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtest.traffic.reply import Reply
from loadtest.verdict.steps import OUTCOMES, Step, judge_steps, outcome, step_of
from tests.loadtest.replies import reply

DEADLINE_MS = 60.0


@pytest.mark.parametrize(
    ("kind", "latency_ms", "wanted"),
    [
        ("ok", 60.0, "full"),
        ("ok", 60.1, "late"),
        ("degraded", 60.0, "degraded"),
        ("degraded", 60.1, "late"),
        ("shed", 1.0, "shed"),
        ("shed", 900.0, "shed"),
        ("timed out", 2_000.0, "missing"),
        ("failed", 1.0, "missing"),
    ],
)
def test_every_request_has_one_outcome(kind: str, latency_ms: float, wanted: str) -> None:
    assert outcome(reply(latency_ms, kind=kind), DEADLINE_MS) == wanted


def test_a_step_counts_each_outcome_and_times_answers_apart_from_refusals() -> None:
    replies = [
        *[reply(10.0, parts={"total": 8.0}) for _ in range(90)],
        *[reply(20.0, stage="expert", parts={"total": 18.0}) for _ in range(10)],
        *[reply(50.0, kind="degraded", parts={"total": 49.0}) for _ in range(20)],
        *[reply(80.0, parts={"total": 40.0}) for _ in range(5)],
        *[reply(2.0, kind="shed", status=503, parts={"total": 0.1}) for _ in range(70)],
        *[reply(5_000.0, kind="timed out", status=0) for _ in range(3)],
        *[reply(1.0, kind="failed", status=500, lag_ms=3.0) for _ in range(2)],
    ]
    found = step_of(replies, 2.0, times=1.5, deadline_ms=DEADLINE_MS)
    assert found["counts"] == {"full": 100, "degraded": 20, "late": 5, "shed": 70, "missing": 5}
    assert found["per_s"] == {"full": 50.0, "degraded": 10.0, "late": 2.5, "shed": 35.0, "missing": 2.5}
    assert sum(found["per_s"].values()) == found["offered_per_s"] == 100.0
    assert found["expert_per_s"] == 5.0
    assert found["in_time_share"] == 120 / 125
    assert (found["answer_p50_ms"], found["answer_ms"]) == (10.0, 80.0)
    assert (found["server_p50_ms"], found["server_ms"]) == (8.0, 49.0)
    assert (found["refusal_ms"], found["server_refusal_ms"]) == (2.0, 0.1)
    assert (found["lag_ms"], found["valid"]) == (0.0, True)


def test_a_step_without_answers_has_no_times() -> None:
    found = step_of([reply(kind="failed", status=0)] * 5, 1.0, times=1.0, deadline_ms=DEADLINE_MS)
    assert found["in_time_share"] is None
    assert [name for name, value in found.items() if value is None] == [
        *("in_time_share", "answer_p50_ms", "answer_ms", "server_p50_ms", "server_ms", "refusal_ms"),
        "server_refusal_ms",
    ]
    json.dumps(found, allow_nan=False)


def step(times: float, full: int, *others: Reply, lag_ms: float = 0.0) -> Step:
    """A second with so many full answers, and with these other replies."""
    replies = [*(reply(10.0, lag_ms=lag_ms) for _ in range(full)), *others]
    return step_of(replies, 1.0, times=times, deadline_ms=DEADLINE_MS)


def refusals(count: int, total_ms: float = 0.2) -> list[Reply]:
    return [reply(3.0, kind="shed", status=503, parts={"total": total_ms}) for _ in range(count)]


def held(*steps: Step) -> list[bool]:
    """Goodput, answers in time, requests without an answer, and, where there were any, refusals."""
    return [row["holds"] for row in judge_steps(steps)]


def test_a_service_that_sheds_the_rest_bears_overload() -> None:
    assert held(step(0.5, 500), step(1, 1_000), step(5, 950, *refusals(4_050))) == [True] * 4


@pytest.mark.parametrize(
    ("worst", "broken"),
    [
        (step(5, 899, *refusals(4_000)), 0),
        (step(5, 950, *[reply(61.0)] * 10, *refusals(4_000)), 1),
        (step(5, 950, reply(kind="timed out", status=0), *refusals(4_000)), 2),
        (step(5, 950, *refusals(4_000, total_ms=5.1)), 3),
    ],
    ids=["goodput falls", "answers are late", "one gets no answer", "refusals take long"],
)
def test_each_rule_is_broken_by_its_own_figure(worst: Step, broken: int) -> None:
    assert held(step(1, 1_000), worst) == [place != broken for place in range(4)]


def test_below_saturation_goodput_is_not_held_to_its_peak() -> None:
    rows = judge_steps([step(0.5, 100), step(1, 1_000)])
    assert (rows[0]["measured"], rows[0]["holds"]) == (1.0, True)
    # Nor where more could be answered than was offered, because saturation was stated too low.
    assert held(step(1, 100), step(2, 200)) == [True] * 3


def test_steps_in_which_the_generator_was_late_count_for_nothing() -> None:
    late = step(5, 10, lag_ms=6.0)
    assert not late["valid"]
    assert held(step(1, 1_000), late) == [True] * 3
    only_below = judge_steps([step(0.5, 100), late])
    assert only_below[0]["note"] == "no valid step from saturation on"
    assert not only_below[0]["holds"]
    assert judge_steps([late]) == []


def test_the_outcomes_are_all_there_in_json() -> None:
    row: dict[str, Any] = json.loads(json.dumps(step(1, 3)))
    assert set(row["counts"]) == set(row["per_s"]) == set(OUTCOMES)
