"""Intervals that hold at every moment: lives that are simulated, and sums that are checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.shadow.evidence import BETS, interval, least, share

LIVES, ITEMS = 1_000, 5_000
MARGIN = 0.005


def ever_above(better: float, worse: float, mean: float, delta: float, seed: int) -> NDArray[np.int64]:
    """After how many items each of LIVES lives is sure of a mean above `mean`; 0 for those that never are."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((LIVES, ITEMS))
    plus = np.cumsum(drawn < better, axis=1)
    minus = np.cumsum(drawn > 1 - worse, axis=1)
    zero = np.arange(1, ITEMS + 1) - plus - minus
    bets = np.array(BETS)
    wealth = np.full((LIVES, ITEMS), -np.inf)
    for bet in bets:
        won = np.log1p(bet * (1 - mean) / (1 + mean)), np.log1p(-bet * mean / (1 + mean)), np.log1p(-bet)
        wealth = np.logaddexp(wealth, plus * won[0] + zero * won[1] + minus * won[2] - math.log(len(bets)))
    sure = wealth >= -math.log(delta)
    return np.where(sure.any(axis=1), sure.argmax(axis=1) + 1, 0)


@pytest.mark.parametrize(("better", "worse"), [(0.0, 0.005), (0.01, 0.015), (0.1, 0.105), (0.4, 0.405)])
def test_looking_after_every_item_errs_no_more_often_than_is_said(better: float, worse: float) -> None:
    """The true difference is the margin, so whoever says `no worse` errs: 2.5 % of lives, and three standard errors."""
    delta = 0.025
    wrong = np.count_nonzero(ever_above(better, worse, -MARGIN, delta, seed=1))
    assert wrong <= LIVES * delta + 3 * math.sqrt(LIVES * delta * (1 - delta))


def test_rates_may_change_as_long_as_the_mean_so_far_is_no_better() -> None:
    """First everything gets worse, then nothing: until the mean so far has risen to the margin, nobody may be sure."""
    bad, delta, wrong = 50, 0.025, 0
    good = int(bad * (0.5 - MARGIN) / MARGIN)  # then the mean so far is the margin
    rng = np.random.default_rng(2)
    for _ in range(200):
        minus = int(np.count_nonzero(rng.random(bad) < 0.5))
        wrong += least(0, bad - minus + good, minus, delta) > -MARGIN
    assert wrong <= 200 * delta + 3 * math.sqrt(200 * delta * (1 - delta))


@pytest.mark.parametrize(("rate", "within"), [(0.0, 1_500), (0.001, 5_000)])
def test_a_shadow_that_is_as_good_is_found_to_be_no_worse(rate: float, within: int) -> None:
    found = ever_above(rate, rate, -MARGIN, 0.025, seed=3)
    assert np.mean((found > 0) & (found <= within)) >= 0.9


def test_the_formula_of_the_simulation_is_the_one_of_the_module() -> None:
    (first,) = {int(each) for each in ever_above(0.0, 0.0, -MARGIN, 0.025, seed=1)}
    assert least(0, first, 0, 0.025) >= -MARGIN - 1e-9
    assert least(0, first - 1, 0, 0.025) < -MARGIN


@given(st.integers(0, 300), st.integers(0, 3_000), st.integers(0, 300))
def test_an_interval_has_the_mean_inside_and_is_the_same_in_the_mirror(plus: int, zero: int, minus: int) -> None:
    found, mirrored = interval(plus, zero, minus, 0.05), interval(minus, zero, plus, 0.05)
    assert -1 <= found.low <= found.high <= 1
    assert (found.low, found.high) == (-mirrored.high, -mirrored.low)
    if found.mean is None:
        assert (found.low, found.high) == (pytest.approx(-1), pytest.approx(1))
    else:
        assert found.low <= found.mean <= found.high
        assert found.mean == (plus - minus) / (plus + zero + minus)


def test_a_share_is_between_0_and_1() -> None:
    assert share(0, 0, 0.05).mean is None
    found = share(990, 10, 0.05)
    assert found.mean == pytest.approx(0.99)
    assert 0.97 < found.low < 0.99 < found.high < 1
    assert share(0, 500, 0.05).high < 0.05
    assert share(500, 0, 0.05).high == pytest.approx(1)
