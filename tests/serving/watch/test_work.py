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
    assert work.of(8, 3, 0.0208) == pytest.approx(0.0232 / 32 * 8)


def test_on_a_machine_that_is_busy_with_other_work_a_run_is_worth_more() -> None:
    work = Work()
    for size in (1, 2, 4):
        work.of(size, 16, 0.005 * size)
    assert work.of(1, 16, 0.020) == pytest.approx(0.020), "the expert can do a quarter, so it is four times as full"
    work.of(32, 3, 0.0232)
    work.of(1, 3, 0.0201)
    assert work.of(1, 3, 2 * 0.0201) == pytest.approx(2 * 0.0232 / 32)


def test_long_items_are_compared_with_long_items() -> None:
    work = Work()
    work.of(8, 16, 0.008)
    assert work.of(2, 128, 0.026) == pytest.approx(0.026)
    assert work.of(1, 15, 0.009) == pytest.approx(0.001), "rounded up to the same power of two"
