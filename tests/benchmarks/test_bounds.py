"""The bounds of the hot path: each is broken by its own figure, and the recorded figures give the recorded rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.bounds import Bound, bounds, spread
from loadtest.verdict.steps import Step, step_of
from tests.conftest import ROOT
from tests.loadtest.replies import reply

RECORDED = json.loads((ROOT / "docs" / "measured" / "figures" / "bench.json").read_text())
FIGURES = RECORDED["figures"]
ALL = "rounds", "expert_loads", "screen_loads", "endurance"
DEADLINE_MS = 60.0


def test_the_recorded_figures_give_the_recorded_rows() -> None:
    assert bounds(*(FIGURES[key] for key in ALL)) == RECORDED["bounds"]


def test_a_bound_is_broken_by_its_own_figure_alone() -> None:
    rounds, expert, screen, endurance = (FIGURES[key] for key in ALL)
    longest = "longest of the empty model's answers at 1 connection, ms"
    before = holding(bounds(rounds, expert, screen, {**endurance, "longest_ms": 19.9}))
    after = holding(bounds(rounds, expert, screen, {**endurance, "longest_ms": 20.1}))
    assert before[longest]
    assert after == {**before, longest: False}


def holding(rows: list[Bound]) -> dict[str, bool]:
    return {row["what"]: row["holds"] for row in rows}


def load(times: float, full: int, *, late: int = 0, degraded: int = 0, shed: int = 0, **changes: Any) -> Step:
    """A second with so many of each; `full` by the expert."""
    replies = [
        *(reply(30.0, stage="expert") for _ in range(full)),
        *(reply(70.0, stage="expert") for _ in range(late)),
        *(reply(30.0, kind="degraded") for _ in range(degraded)),
        *(reply(3.0, kind="shed", status=503, parts={"total": 0.2}) for _ in range(shed)),
    ]
    return {**step_of(replies, 1.0, times=times, deadline_ms=DEADLINE_MS), **changes}  # type: ignore[typeddict-item]


def broken(expert: list[Step], screen: list[Step]) -> list[str]:
    """What falls short of the loads' bounds."""
    rows = bounds(FIGURES["rounds"], expert, screen, FIGURES["endurance"])
    return [row["what"] for row in rows if row["what"].startswith(("everything", "screen alone")) and not row["holds"]]


GOOD = [load(0.7, 70), load(1, 95), load(2, 98, degraded=90), load(10, 99, degraded=200, shed=700)]


def test_an_expert_that_keeps_its_rate_and_an_api_that_sheds_the_rest_hold() -> None:
    assert broken(GOOD, GOOD) == []


@pytest.mark.parametrize(
    ("worst", "expert", "screen"),
    [
        (load(10, 80, degraded=200, shed=720), "own answers in time at 10 times", "goodput from saturation on"),
        (load(10, 95, degraded=60, shed=800), "degraded ones too", None),
        (load(10, 95, degraded=200, late=4, shed=700), None, "answers in time, share of the answers"),
        (load(10, 95, degraded=200, shed=705, server_refusal_ms=5.1), "a refusal in the server", "a refusal in the"),
        (load(10, 95, degraded=200, shed=705, server_refusal_ms=None), None, None),
        (load(10, 95, degraded=200, shed=705, lag_ms=6.0), "the generator's own lag", "the generator's own lag"),
    ],
    ids=["own answers", "answers at all", "late", "slow refusals", "refusals without a time", "a late generator"],
)
def test_each_figure_of_a_load_breaks_its_own_bound(worst: Step, expert: str | None, screen: str | None) -> None:
    fell = broken([*GOOD[:-1], worst], GOOD), broken(GOOD, [*GOOD[:-1], worst])
    if worst["server_refusal_ms"] is None:
        assert [len(each) for each in fell] == [1, 1], "what was not timed does not hold"
        return
    for got, wanted in zip(fell, (expert, screen), strict=True):
        assert [wanted in what for what in got] == ([True] if wanted else []), got


def test_a_request_without_an_answer_breaks_its_bound() -> None:
    lost = step_of([reply(kind="timed out", status=0), *[reply(30.0, stage="expert")] * 99], 1.0, times=1.0,
                   deadline_ms=DEADLINE_MS)  # fmt: skip
    assert broken([lost, *GOOD[1:]], GOOD) == ["everything escalates: requests without an answer"]


def test_a_spread_is_of_all_rounds() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
    with pytest.raises(ValueError, match="no median"):
        spread([])


@pytest.mark.parametrize(("share", "holds"), [(0.7, True), (0.69, False)])
def test_an_api_process_is_held_against_a_bare_application(share: float, holds: bool) -> None:
    rounds, *others = (FIGURES[key] for key in ALL)
    bare = {**rounds, "empty_32_per_s": {"median": 1000 * share}, "bare_32_per_s": {"median": 1000.0}}
    (row,) = (each for each in bounds(bare, *others) if "bare application" in each["what"])
    assert (row["measured"], row["holds"]) == (pytest.approx(share), holds)
