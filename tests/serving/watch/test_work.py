"""What runs of an expert are worth: its share of a full expert, whatever batches they came in."""

from __future__ import annotations

import pytest

from serving.watch.work import Work


def test_without_a_gain_from_batches_it_is_the_time_of_the_runs() -> None:
    work = Work()
    assert [work.of(size, 3, 0.022 * size) for size in (1, 4, 32)] == pytest.approx([0.022, 0.088, 0.704])


def test_with_a_gain_from_batches_small_ones_are_worth_less_than_they_took() -> None:
    work = Work()
    assert work.of(1, 3, 0.0201) == pytest.approx(0.0201), "nothing better was seen yet"
    assert work.of(32, 3, 0.0232) == pytest.approx(0.0232)
    assert work.of(1, 3, 0.0201) == pytest.approx(0.0232 / 32)


def test_a_slow_moment_makes_an_item_worth_no_more() -> None:
    work = Work()
    work.of(1, 16, 0.005)
    assert work.of(1, 16, 0.5) == pytest.approx(0.005)


def test_long_items_are_worth_what_long_items_take() -> None:
    work = Work()
    work.of(8, 16, 0.008)
    assert work.of(2, 128, 0.026) == pytest.approx(0.026)
    assert work.of(1, 15, 0.009) == pytest.approx(0.001), "rounded up to the same power of two"
