"""Bounds that hold at every moment: in a thousand lives, at rates that change, with weights, and how soon they tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from serving.audit.betting import FALLS, WEIGHTS, evidence_above, evidence_below, least_rate, most_rate

LIVES, DELTA, ALPHA = 1_000, 0.05, 0.01
ALLOWED = int(binom.ppf(0.999, LIVES, DELTA))
"""So many of the lives may see a false alarm, where each does with probability DELTA."""


def alarms(rng: np.random.Generator, rates: np.ndarray, levels: np.ndarray, rate: float) -> bool:
    """Whether a life ever shows its mean rate to be above `rate`. The evidence grows with a miss only."""
    weights = np.array(WEIGHTS)[levels]
    total, misses = np.cumsum(weights), [0] * len(WEIGHTS)
    for place in np.flatnonzero(rng.random(len(rates)) < rates):
        misses[levels[place]] += 1
        if evidence_above(rate, float(total[place]), misses) >= -math.log(DELTA):
            return True
    return False


@pytest.mark.parametrize("varied", [False, True])
def test_a_rate_of_exactly_alpha_is_shown_to_be_more_in_few_of_a_thousand_lives(varied: bool) -> None:
    rng = np.random.default_rng(1)
    n, found = 10_000, 0
    for _ in range(LIVES):
        levels = np.repeat(rng.integers(0, len(WEIGHTS), 100), n // 100) if varied else np.zeros(n, dtype=int)
        found += alarms(rng, np.full(n, ALPHA), levels, ALPHA)
    assert 0 < found <= ALLOWED, "none at all would say that much is given away"


def test_a_mean_rate_of_alpha_whose_parts_differ_is_not_shown_to_be_more() -> None:
    """By day the rate is 0, at night twice alpha at half the share: without weights nights would count too little."""
    rng = np.random.default_rng(2)
    night = np.arange(9_000) % 300 >= 200
    # A day has 200 items of weight 1, and a night 100 of weight 2.
    rates, levels = np.where(night, 2 * ALPHA, 0.0), np.where(night, 1, 0)
    running = np.cumsum(rates * (1 + levels)) / np.cumsum(1 + levels)
    assert running.max() == pytest.approx(running[-1]) == pytest.approx(ALPHA)
    found = sum(alarms(rng, rates, levels, ALPHA) for _ in range(LIVES))
    assert found <= ALLOWED
    shown = sum(alarms(rng, rates, levels, ALPHA / 2) for _ in range(100))
    assert shown >= 95, "half of it is refuted"


def test_three_times_alpha_is_found_within_five_thousand_items_in_most_lives() -> None:
    rng = np.random.default_rng(3)
    found = sum(alarms(rng, np.full(5_000, 3 * ALPHA), np.zeros(5_000, dtype=int), ALPHA) for _ in range(LIVES))
    assert found >= 0.95 * LIVES


def test_both_bounds_are_right_at_every_look_and_close_in() -> None:
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(200):
        misses = np.cumsum(rng.random(3_000) < 0.02)
        looks = range(99, 3_000, 100)
        wrong += any(most_rate(n + 1, (int(misses[n]), 0, 0), DELTA) < 0.02 for n in looks)
        wrong += any(least_rate(n + 1, (int(misses[n]), 0, 0), DELTA) > 0.02 for n in looks)
    assert wrong <= binom.ppf(0.999, 400, DELTA)
    assert least_rate(1e5, (2_000, 0, 0), DELTA) > 0.9 * 0.9 * 0.02
    assert most_rate(1e5, (2_000, 0, 0), DELTA) < 1.1 * 0.02


@given(
    st.floats(1, 1e6),
    st.tuples(*[st.integers(0, 200)] * len(WEIGHTS)),
    st.floats(1e-6, 0.5),
    st.floats(1e-4, 0.5),
)
def test_more_misses_are_more_evidence_and_bounds_lie_on_their_sides(
    weight: float, misses: tuple[int, ...], rate: float, delta: float
) -> None:
    more = (misses[0] + 1, *misses[1:])
    assert evidence_above(rate, weight, more) > evidence_above(rate, weight, misses)
    assert evidence_below(rate, weight, more) < evidence_below(rate, weight, misses)
    assert evidence_above(rate * 1.1, weight, misses) < evidence_above(rate, weight, misses)
    low, high = least_rate(weight, misses, delta), most_rate(weight, misses, delta)
    assert 0 <= low <= high <= 1


def test_nothing_is_known_of_nothing() -> None:
    assert most_rate(0, (0, 0, 0), DELTA) == 1
    assert least_rate(0, (0, 0, 0), DELTA) == pytest.approx(0)
    assert max(FALLS) * max(WEIGHTS) < 1, "a bet could lose more than all"
