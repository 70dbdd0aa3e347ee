"""The autoscaler: Prometheus's rate, the HPA's rules, and the whole loop at a step of the load."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from loadtest.queueing.autoscaler import (
    Curve,
    Moment,
    Policy,
    Rates,
    Trigger,
    offered_work,
    pods_for_deadlines,
    rate,
    scale,
)
from loadtest.queueing.expert import Served

POLICY = Policy(lowest=2, highest=8, up_share=1.0, up_s=30, down_pods=1, down_s=60, stable_s=600)
RATES = Rates(pods=4, work=2.0, busy=2.0, answered=100, missed=0)
WORK = [Trigger(offered_work, 0.6)]
# A pod answers up to 50 a second; at 50 it is full.
LINEAR = Curve(
    [0, 50, 500],
    [Served(answered_per_s=n, missed_per_s=0, work=n / 50, busy=n / 50) for n in (0, 50, 50)],
)


def played(low: float, high: float, policy: Policy = POLICY, seconds: int = 3_000) -> list[Moment]:
    return scale(LINEAR, lambda at_s: high if 300 <= at_s < 1_500 else low, policy, WORK, seconds)


def test_a_rate_is_that_of_the_samples_in_the_window_extrapolated_to_its_ends() -> None:
    steady = deque((float(at), 2.0 * at) for at in range(0, 300, 15))
    assert rate(steady, 1, 285, 60) == pytest.approx(2)
    assert rate(steady, 1, 290, 60) == pytest.approx(2), "no sample at the end of the window"
    assert rate(deque([(280.0, 560.0)]), 1, 285, 60) == 0, "one sample is no rate"
    young = deque([(270.0, 0.0), (285.0, 30.0)])
    assert rate(young, 1, 285, 60) == pytest.approx(30 * 1.5 / 60), "half an interval before a series that is new"


def test_what_is_missed_counts_as_work_at_the_price_of_what_is_answered() -> None:
    assert offered_work(RATES) == 2
    assert offered_work(replace(RATES, missed=100)) == 4
    assert offered_work(replace(RATES, answered=0, missed=100)) == 20, "at most ten times"
    assert offered_work(replace(RATES, answered=0, missed=0)) == 2


@pytest.mark.parametrize(
    ("work", "missed_share", "pods"),
    [(2, 0.005, 0), (2, 0.02, 4), (2, 0.1, 5), (0.4, 0.5, 0), (3.6, 0.5, 0)],
    ids=["kept", "held", "raised", "idle: more would not help", "full: work says how many"],
)
def test_missed_deadlines_hold_or_raise_the_number_of_pods(work: float, missed_share: float, pods: float) -> None:
    rates = replace(RATES, work=work, answered=100 * (1 - missed_share), missed=100 * missed_share)
    assert pods_for_deadlines(rates) == pods


def test_at_a_step_it_reaches_the_number_that_is_needed_and_comes_back() -> None:
    moments = played(20, 200)
    assert {m.wanted for m in moments[:300]} == {2}
    at_step = [m for m in moments if 300 <= m.at_s < 1_500]
    assert max(m.wanted for m in at_step) == at_step[-1].wanted == 7, "200 of 50 a pod, at 0.6 of each"
    assert at_step[-1].missed_share == 0
    up = [m.wanted for m in at_step]
    assert up == sorted(up), "it does not swing"
    assert all(m.wanted == 7 for m in moments[1_500:2_100]), "it waits for ten minutes"
    down = [m.wanted for m in moments[2_100:]]
    assert down == sorted(down, reverse=True)
    assert down[-1] == 2


def test_pods_are_added_and_taken_away_no_faster_than_the_policy_allows() -> None:
    wanted = [m.wanted for m in played(20, 2_000)]
    assert max(wanted) == 8
    for begin in range(len(wanted) - 30):
        assert wanted[begin + 29] <= 2 * wanted[begin]
    changes = [at for at in range(1, len(wanted)) if wanted[at] < wanted[at - 1]]
    assert all(later - earlier >= 60 for earlier, later in pairwise(changes))
    assert len(changes) == 6


def test_a_pod_answers_once_it_has_started() -> None:
    moments = played(20, 200, replace(POLICY, start_s=120))
    first = next(m.at_s for m in moments if m.wanted > 2)
    assert next(m.at_s for m in moments if m.ready > 2) == first + 120


def test_a_value_near_its_target_changes_nothing() -> None:
    assert {m.wanted for m in played(63, 63)} == {2}, "0.63 of a pod is within a tenth of 0.6"
    assert {m.wanted for m in played(70, 70)} == {2, 3}
