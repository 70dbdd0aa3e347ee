"""Ratios and spreads over rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.verdict.comparison import coverage, interval, ratio, ratios, spread


def test_ratios_are_medians_of_the_rounds_with_an_interval_around_them() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    found = ratio([20.0, 30.0, 44.0], [10.0, 10.0, 11.0])
    assert found is not None
    assert found["median"] == 3.0
    assert 2.0 <= found["low"] <= 3.0 <= found["high"] <= 4.0
    assert ratio([1.0], [0.0]) is None


def test_a_round_without_goodput_is_infinitely_worse() -> None:
    assert ratios([5.0, 0.0, 6.0], [0.0, 0.0, 3.0]) == [math.inf, 1.0, 2.0]


@pytest.mark.parametrize(("count", "beyond"), [(1, 0), (3, 0), (5, 0), (8, 0), (9, 1), (11, 1), (12, 2), (20, 5)])
def test_the_ends_of_an_interval_are_values_that_came(count: int, beyond: int) -> None:
    values = [float(value) for value in range(count)]
    assert interval(values[::-1]) == (beyond, count - 1 - beyond)


@pytest.mark.parametrize("count", [1, 3, 5, 6, 9, 15])
def test_an_interval_holds_the_median_as_often_as_it_says(count: int) -> None:
    rng = np.random.default_rng(count)
    held = 0
    for values in rng.exponential(1.0, (4_000, count)):
        low, high = interval(values.tolist())
        held += low <= math.log(2) <= high
    assert held / 4_000 == pytest.approx(coverage(count), abs=0.02)
    assert coverage(count) >= 0.95 or count < 6
