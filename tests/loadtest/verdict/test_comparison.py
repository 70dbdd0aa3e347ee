"""Ratios and spreads over rounds."""

from __future__ import annotations

from loadtest.verdict.comparison import ratio, spread


def test_ratios_are_medians_of_the_rounds_with_an_interval_around_them() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    found = ratio([20.0, 30.0, 44.0], [10.0, 10.0, 11.0])
    assert found is not None
    assert found["median"] == 3.0
    assert 2.0 <= found["low"] <= 3.0 <= found["high"] <= 4.0
    assert ratio([1.0], [0.0]) is None
