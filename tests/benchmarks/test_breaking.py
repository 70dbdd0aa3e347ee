"""What is said of the requests of a load during which a part broke."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.breaking import Load, Part, Times, break_once, outcome, recovery_s
from loadtest.traffic.reply import Reply
from loadtest.traffic.workload import text_samples
from tests.loadtest.little_server import little_server, ok
from tests.loadtest.replies import reply

TIMES = Times(broke_s=2.0, back_s=4.0)
END_S = 8.0


def replies(*, heals_s: float = 4.5, **while_broken: Any) -> list[Reply]:
    """A reply each tenth of a second: full ones of 10 ms, but `while_broken` from when the part broke."""
    made = []
    for due_s in (number / 10 for number in range(int(10 * END_S))):
        broken = TIMES.broke_s <= due_s < heals_s
        kind = {"kind": "degraded", **while_broken} if broken else {}
        made.append(reply(due_s=due_s, parts={"total": 30.0 if broken else 10.0}, **kind))
    return made


def test_phases_are_told_apart() -> None:
    said = outcome(replies(), TIMES)
    assert (said["requests"], said["failed"], said["lost"], said["shed"]) == (80, 0, 0, 0)
    assert (said["full_share_before"], said["degraded_share"]) == (1.0, 1.0)
    assert said["p99_ms"] == (10.0, 30.0, 10.0)
    assert said["recovered_s"] == pytest.approx(0.5, abs=0.11)


@pytest.mark.parametrize(("heals_s", "recovered_s"), [(4.0, 0.0), (3.0, 0.0), (6.5, 2.5), (END_S, None)])
def test_it_has_recovered_when_full_answers_are_as_frequent_as_before(
    heals_s: float, recovered_s: float | None
) -> None:
    got = recovery_s(replies(heals_s=heals_s), TIMES)
    assert got == (None if recovered_s is None else pytest.approx(recovered_s, abs=0.11))


def test_a_second_in_which_nothing_was_due_is_no_recovery() -> None:
    some = [each for each in replies(heals_s=END_S) if each.due_s < 4 or each.due_s >= 7]
    assert recovery_s(some, TIMES) is None


def test_requests_in_the_hands_of_a_part_are_told_from_those_that_are_lost() -> None:
    failing = [
        reply(due_s=1.9, latency_ms=100, kind="failed", status=0),  # it ended just when the part broke
        reply(due_s=1.5, latency_ms=900, kind="failed", status=0),
        reply(due_s=1.5, latency_ms=100, kind="failed", status=0),
        reply(due_s=2.5, latency_ms=5000, kind="timed out", status=0),
    ]
    said = outcome([*replies(), *failing], TIMES)
    assert (said["in_hands"], said["failed"], said["lost"]) == (3, 4, 2), "one of those in hand was answered"


def test_a_part_breaks_and_comes_back_under_load() -> None:
    state = {"broken": False, "back": 0.0}

    def back() -> Iterator[bool]:
        yield from (False, False, True)

    steps = back()
    with little_server(lambda _: ok(degraded="down") if state["broken"] else ok()) as url:
        load = Load(url, text_samples(None, 50, seed=1), rate=100, before_s=0.6)
        part = Part(
            what="a flag",
            breaks=lambda: state.update(broken=True),
            mends=lambda: state.update(broken=False),
            is_back=lambda: next(steps),
            held_s=0.6,
            after_s=1.8,
        )
        said = break_once(load, part, seed=1)
    assert said["requests"] > 200
    assert said["failed"] == 0
    assert said["full_share_before"] == 1.0
    assert said["degraded_share"] > 0.7, "it is whole again a little before it is seen to be back"
    assert said["recovered_s"] == 0.0
    assert all(ms is not None and math.isfinite(ms) for ms in (said["p99_ms"][0], said["p99_ms"][2]))


def test_what_breaking_raises_is_raised() -> None:
    def breaks() -> None:
        raise FileNotFoundError("no such process")

    with little_server(lambda _: ok()) as url, pytest.raises(FileNotFoundError):
        break_once(Load(url, text_samples(None, 50, seed=1), 50, 0.1), Part(what="x", breaks=breaks, held_s=0.1), 1)
