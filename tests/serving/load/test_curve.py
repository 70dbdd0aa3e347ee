"""What calls are expected to take, by their number of items."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.load.curve import Curve, Stretched


def taught(*calls: tuple[int, float], largest: int = 32) -> Curve:
    curve = Curve(largest)
    for size, took_ms in calls:
        curve.observe(size, took_ms)
    return curve


def test_nothing_is_known_at_first() -> None:
    curve = Curve(4)
    assert curve.mean_ms(4) == curve.cautious_ms(4) == 0.0


def test_between_known_sizes_times_lie_on_a_line_which_goes_on_beyond_the_largest() -> None:
    curve = taught((1, 2.0), (8, 9.0))
    assert [curve.mean_ms(size) for size in (1, 4, 8)] == pytest.approx([2.0, 5.0, 9.0])
    assert curve.mean_ms(32) == pytest.approx(33.0)


def test_with_one_known_size_the_time_grows_with_the_items() -> None:
    assert taught((4, 8.0)).mean_ms(16) == pytest.approx(32.0)
    assert taught((4, 8.0)).mean_ms(1) == pytest.approx(2.0)


def test_the_least_of_the_first_three_calls_counts_and_then_a_mean() -> None:
    curve = taught((1, 90.0), (1, 4.0), (1, 5.0))
    assert curve.mean_ms(1) == 4.0
    curve.observe(1, 5.0)
    assert curve.mean_ms(1) == pytest.approx(4.1)
    for _ in range(100):
        curve.observe(1, 8.0)
    assert curve.mean_ms(1) == pytest.approx(8.0, rel=1e-2)


def test_a_call_between_two_knots_teaches_both() -> None:
    curve = taught(*[(1, 1.0), (16, 16.0), (32, 32.0)] * 3)
    for _ in range(200):
        curve.observe(24, 48.0)
    assert curve.mean_ms(24) == pytest.approx(48.0, rel=1e-2)
    assert curve.mean_ms(32) > 40


def test_fewer_items_are_never_slower_and_more_are_never_faster() -> None:
    curve = taught((1, 120.0), (4, 5.0))
    assert curve.mean_ms(1) == pytest.approx(5.0)
    curve.observe(1, 3.0)
    curve.observe(32, 1.0)
    assert curve.mean_ms(1) == curve.mean_ms(4) == curve.mean_ms(32) == pytest.approx(1.0)


def test_a_size_that_was_slow_once_is_tried_again() -> None:
    """One bad warm-up of 32, in an expert that takes 1 ms an item."""
    curve = taught(*[(size, float(size)) for size in (1, 2, 4, 8, 16)] * 3, (32, 4000.0))
    sizes = []
    for _ in range(400):
        size = max(size for size in range(1, 33) if curve.cautious_ms(size) <= 50)
        curve.observe(size, float(size))
        sizes.append(size)
    assert sizes[0] == 16
    assert sizes[-1] == 32


def test_one_call_that_met_a_stopped_process_moves_the_mean_a_little() -> None:
    curve = taught(*[(1, 10.0)] * 3)
    curve.observe(1, 5000.0)
    assert curve.mean_ms(1) < 15


def test_a_forecast_to_be_kept_adds_the_usual_deviation() -> None:
    steady, jumpy = taught(*[(1, 10.0)] * 60), taught(*[(1, 5.0), (1, 15.0)] * 30)
    assert steady.cautious_ms(1) == pytest.approx(10.0)
    assert 15 < jumpy.cautious_ms(1) < 30


def test_the_best_size_gives_the_least_time_for_an_item() -> None:
    assert taught((1, 21.0), (32, 24.0)).least_ms() == pytest.approx(24 / 32)
    assert Curve(8).least_ms() == 0.0


@given(st.lists(st.tuples(st.integers(1, 24), st.floats(0.1, 500)), min_size=1, max_size=40))
def test_times_never_fall_with_the_items_and_stay_in_the_range_of_what_was_seen(
    calls: list[tuple[int, float]],
) -> None:
    curve = taught(*calls, largest=24)
    means, cautious = ([ms(size) for size in range(1, 25)] for ms in (curve.mean_ms, curve.cautious_ms))
    assert all(less <= more + 1e-9 for less, more in pairwise(means))
    assert all(mean <= most for mean, most in zip(means, cautious, strict=True))
    assert 0 <= means[0] <= max(took_ms for _, took_ms in calls) + 1e-9


def test_all_times_can_be_made_a_share_of_what_they_are() -> None:
    curve = taught((1, 10.0), (8, 40.0), (8, 60.0), (32, 100.0))
    before = [(curve.mean_ms(size), curve.cautious_ms(size)) for size in (1, 4, 8, 32)]
    curve.scale(0.1)
    after = [(curve.mean_ms(size), curve.cautious_ms(size)) for size in (1, 4, 8, 32)]
    assert np.array(after) == pytest.approx(0.1 * np.array(before))


def test_longer_items_take_what_as_many_tokens_do() -> None:
    curve = Curve(32)
    curve.observe(1, 21.0)
    curve.observe(32, 52.0)
    longer = Stretched(curve, 4)
    assert [longer.mean_ms(size) for size in (1, 8, 32)] == pytest.approx([24.0, 52.0, 148.0])
    assert longer.cautious_ms(8) == curve.cautious_ms(32)
    assert longer.least_ms() == 4 * curve.least_ms()
