"""What is asked of a service, and when it holds."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import ObjectiveError
from loadtest.verdict.objective import Objective, judge, more_to_decide, read_limits


def found(ms: float | None, high_ms: float | None = None, *, few: bool = False, **changes: Any) -> dict[str, Any]:
    estimate = {"ms": ms, "low_ms": ms, "high_ms": high_ms or ms, "too_few_samples": few}
    plain = {"goodput_per_s": 100.0, "goodput_with_degraded_per_s": 120.0, "degraded_share": 0.0}
    return {"asked_ms": {"p50": estimate, "p99": estimate}, **plain, **changes}


def test_limits_are_read_in_both_units() -> None:
    assert read_limits(["p99=50ms", "p99.9=0.2s", "p50=7.5ms"]) == {"p99": 50.0, "p99.9": 200.0, "p50": 7.5}
    assert Objective(limits_ms=read_limits(["p99.9=80ms", "p50=5ms"])).deadline_ms == 80
    assert Objective().deadline_ms == 50


@pytest.mark.parametrize("text", ["p99", "p99=50", "p95=50ms", "p99=0ms", "p99=-1ms", "p99=1.2.3ms", "p99=.ms", ""])
def test_what_is_no_limit_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(ObjectiveError, match="like p99=50ms"):
        read_limits([text])


def test_each_thing_that_was_asked_holds_or_not_by_itself() -> None:
    objective = Objective(goodput_per_s=100, max_degraded_share=0.01)
    assert [row["holds"] for row in judge(found(50.0), objective)] == [True, True, True]
    assert [row["holds"] for row in judge(found(50.1), objective)] == [False, True, True]
    assert [row["holds"] for row in judge(found(9.0, goodput_per_s=99.9), objective)] == [True, False, True]
    assert [row["holds"] for row in judge(found(9.0, degraded_share=0.02), objective)] == [True, True, False]
    unanswered = judge(found(None, degraded_share=None), Objective())
    assert [row["holds"] for row in unanswered] == [False, True], "no answer is infinitely late"


def test_goodput_is_asked_of_full_answers_and_of_all_in_time_apart() -> None:
    def holds(**goodput: float) -> list[tuple[str, bool]]:
        rows = judge(found(9.0), Objective(max_degraded_share=1.0, **goodput))
        return [(row["what"], row["holds"]) for row in rows if row["what"].startswith("goodput")]

    assert holds() == []
    assert holds(goodput_per_s=101) == [("goodput, full answers in time/s", False)]
    assert holds(goodput_with_degraded_per_s=101) == [("goodput with degraded answers, in time/s", True)]
    both = holds(goodput_per_s=100, goodput_with_degraded_per_s=121)
    assert [kept for _, kept in both] == [True, False]


def test_a_figure_that_says_little_has_a_note() -> None:
    def note(figures: dict[str, Any]) -> str:
        return str(judge(figures, Objective())[0]["note"])

    assert note(found(40.0)) == ""
    assert note(found(40.0, few=True)) == "too few samples"
    assert note(found(40.0, 60.0)) == "its 95 % interval reaches beyond"
    assert note(found(60.0, 70.0)) == "", "it fails, and needs no doubt"
    endless = found(40.0)
    endless["asked_ms"]["p99"]["high_ms"] = None
    assert note(endless) == "its 95 % interval reaches beyond"


def strictly(figures: dict[str, Any]) -> tuple[bool, str]:
    row = judge({"requests": 1_000, **figures}, Objective(strict=True))[0]
    return row["holds"], row["note"]


def test_a_strict_limit_holds_when_the_whole_interval_is_within_it() -> None:
    assert strictly(found(40.0, 50.0)) == (True, "")
    beyond = "its 95 % interval reaches beyond; about 3,000 requests more would decide"
    assert strictly(found(40.0, 60.0)) == (False, beyond)
    assert strictly(found(40.0, 60.0, few=True)) == (False, f"too few samples, {beyond}")
    assert strictly(found(60.0, 70.0)) == (False, ""), "it fails, and needs no doubt"
    endless = found(40.0)
    endless["asked_ms"]["p99"]["high_ms"] = None
    assert strictly(endless) == (False, "its 95 % interval reaches beyond; a longer run would decide")


def test_a_limit_that_fails_may_be_undecided_too() -> None:
    figures = found(60.0, 70.0)
    figures["asked_ms"]["p99"]["low_ms"] = 44.0
    said = "its 95 % interval reaches inside; about 1,600 requests more would decide"
    assert strictly(figures) == (False, said)
    assert judge(figures, Objective())[0]["note"] == "", "a point estimate has no doubt"


def test_an_interval_shrinks_with_the_root_of_the_requests() -> None:
    assert more_to_decide(1_000, 40.0, 60.0, 50.0) == 3_000
    assert more_to_decide(1_000, 40.0, 50.1, 50.0) == 21
    assert more_to_decide(1_000, 50.0, 60.0, 50.0) is None
    assert more_to_decide(1_000, 40.0, float("inf"), 50.0) is None
