"""What a long day consists of. tests/broken lives through a short one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.homes import ALWAYS
from benchmarks.soak import BAD_BODIES, BAD_SHARE, Day, Events, mixed
from benchmarks.soak_result import BAD
from loadtest.traffic.workload import text_samples

DAY = Day(seconds=60, requests=None, rate=10, budget_ms=50, slice_s=10, restart_s=60, switch_s=300)


def test_a_day_of_so_many_requests_escalates_by_the_cascades_own_operating_point() -> None:
    assert DAY.threshold == ALWAYS
    assert replace(DAY, requests=2_000_000).threshold is None


def test_restarts_and_switches_come_when_they_are_due_and_apart() -> None:
    done: list[tuple[str, int]] = []
    now = 0

    def switch() -> bool:
        done.append(("switch", now))
        return now < 500

    events = Events(DAY, restart=lambda: done.append(("restart", now)), switch=switch)
    for now in range(0, 700, 10):
        events.at(now)
    assert [at for what, at in done if what == "restart"] == [60 * n for n in range(1, 12)]
    assert [at for what, at in done if what == "switch"] == [330, 630]
    assert (events.restarts, events.switches, events.refused) == (11, 2, 1)


def test_one_request_in_a_hundred_is_bad_input() -> None:
    samples = mixed(text_samples(None, 50, seed=1), 50_000, seed=1)
    bad = [sample for sample in samples if sample.shape == BAD]
    assert len(bad) / len(samples) == pytest.approx(BAD_SHARE, rel=0.2)
    assert {sample.body for sample in bad} == set(BAD_BODIES)
    assert mixed(samples, 100, seed=2) == mixed(samples, 100, seed=2)
