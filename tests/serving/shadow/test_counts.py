"""Sums of comparisons: they add up, and what they say."""

from __future__ import annotations

import math
import statistics

import pytest

from serving.shadow.counts import OUTCOMES, Compared, Counts, Means, Outcome, Paired


def counts(**outcomes: int) -> Counts:
    made = Counts()
    for name in OUTCOMES:
        made.outcomes[name] = outcomes.get(name, 0)
    return made


def test_what_two_processes_counted_adds_up_and_can_be_taken_away_again() -> None:
    one, other = counts(same=5, worse=1), counts(same=2, dropped=7)
    one.escalations(served=True, shadow=True)
    one.escalations(served=True, shadow=False)
    other.escalations(served=False, shadow=True)
    other.escalations(served=False, shadow=False)
    one.took_ms.add(2.0, 3.0)
    other.took_ms.add(4.0, 1.0)
    both = one.plus(other)
    assert (both.outcomes["same"], both.outcomes["worse"], both.outcomes["dropped"]) == (7, 1, 7)
    assert (both.both, both.only_served, both.only_shadow, both.none) == (1, 1, 1, 1)
    assert both.took_ms == Paired(n=2, served=6.0, shadow=4.0, squares=10.0)
    assert both.plus(other, -1) == one
    assert one.outcomes["same"] == 5, "nothing that was summed has changed"


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ({}, "undecided"),
        ({"same": 500}, "undecided"),
        ({"same": 1_300}, "no worse"),
        ({"same": 1_300, "dropped": 10_000}, "no worse"),
        ({"same": 1_300, "worse": 12}, "undecided"),
        ({"same": 1_300, "worse": 100, "better": 0}, "worse"),
        ({"same": 1_300, "failed": 100}, "worse"),
        ({"same": 1_300, "unsettled": 100}, "worse"),
        ({"same": 1_300, "waiting": 8}, "undecided"),
        ({"same": 20, "waiting": 16}, "undecided"),
        ({"worse": 100, "same": 100, "waiting": 4}, "worse"),
        ({"same": 1_000, "neither": 300}, "no worse"),
        ({"same": 1_300, "worse": 40, "better": 140}, "no worse"),
        ({"dropped": 10_000}, "undecided"),
    ],
)
def test_the_verdict_follows_the_interval(outcomes: dict[Outcome, int], verdict: str) -> None:
    said = Compared.of(counts(**outcomes), margin=0.005)
    assert said.verdict == verdict
    assert (said.difference.low > -0.005, said.difference.high < -0.005) == (verdict == "no worse", verdict == "worse")
    assert said.items == sum(outcomes.values()) - outcomes.get("dropped", 0) - outcomes.get("waiting", 0)


def test_intervals_hold_however_what_waits_will_end() -> None:
    def found(**outcomes: int) -> Compared:
        made = counts(**outcomes)
        made.both, made.only_shadow, made.only_served = 40, 8, 2
        return Compared.of(made, margin=0.005)

    said = found(same=45, worse=5, waiting=3)
    ends = [found(same=45 + yes, worse=5 + 3 - yes) for yes in range(4)]
    for name in ("agreement", "difference", "escalation_difference"):
        of = getattr(said, name)
        assert all(of.low <= getattr(each, name).low and of.high >= getattr(each, name).high for each in ends)
    assert (said.agreement.mean, said.difference.mean) == (0.9, -0.1), "means are of what has ended"


def test_shares_are_of_what_was_compared() -> None:
    of = counts(same=8, better=1, neither=1, dropped=5)
    of.both, of.none, of.only_served, of.only_shadow = 1, 6, 2, 1
    said = Compared.of(of, margin=0.005)
    assert said.agreement.mean == pytest.approx(0.8)
    assert said.difference.mean == pytest.approx(0.1)
    assert (said.escalation_served, said.escalation_shadow) == (0.3, 0.2)
    assert said.escalation_difference.mean == pytest.approx(-0.1)


def test_means_have_the_interval_of_their_differences() -> None:
    assert Means.of(Paired()) == Means(n=0)
    few, paired = Paired(), Paired()
    few.add(1.0, 2.0)
    assert (Means.of(few).difference, Means.of(few).low) == (1.0, None)
    differences = [0.1 * n for n in range(50)]
    for difference in differences:
        paired.add(10.0, 10.0 + difference)
    said = Means.of(paired)
    half = 1.96 * statistics.pstdev(differences) / math.sqrt(50)
    assert said.served == 10.0
    assert (said.low, said.high) == pytest.approx((2.45 - half, 2.45 + half))
