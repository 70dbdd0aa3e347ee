"""How long calls are expected to take, and when a new one would end. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.load.forecast import Forecast, Waiting


def test_each_shape_of_call_has_its_own_expected_time() -> None:
    forecast = Forecast(max_batch_size=32, calls_in_flight=2)
    assert forecast.expected_ms(1, 16) == 0
    forecast.observe(1, 16, 2.0)
    forecast.observe(32, 16, 40.0)
    assert forecast.expected_ms(1, 9) == 2.0, "9 to 16 tokens are one step"
    assert forecast.expected_ms(32, 128) == 40.0, "as the nearest smaller one, until it is known"
    assert forecast.expected_ms(2, 16) == 2.0
    for _ in range(100):
        forecast.observe(1, 16, 4.0)
    assert forecast.expected_ms(1, 16) == pytest.approx(4.0, rel=1e-3)


def test_a_smaller_shape_is_never_expected_to_take_longer() -> None:
    forecast = Forecast(max_batch_size=32, calls_in_flight=2)
    forecast.observe(1, 8, 120.0)  # the very first call, cold
    assert forecast.expected_ms(1, 8) == 120
    forecast.observe(1, 16, 5.0)
    assert forecast.expected_ms(1, 8) == 5
    forecast.observe(4, 8, 3.0)
    assert forecast.expected_ms(1, 8) == 3
    assert forecast.expected_ms(1, 16) == 5, "longer than the call that was fast"


def taught(**settings: float) -> Forecast:
    """A forecast for batches of 4 whose calls take 10 ms each, and of 8 tokens or more 20 ms."""
    keys: dict[str, Any] = {"max_batch_size": 4, "calls_in_flight": 1, **settings}
    forecast = Forecast(**keys)
    for size in (1, 2, 4):
        forecast.observe(size, 1, 10.0)
        forecast.observe(size, 8, 20.0)
    return forecast


def queue(*sizes: int) -> list[Waiting]:
    return [Waiting(size, 1, 60.0) for size in sizes]


@pytest.mark.parametrize(
    ("waiting", "ends_s", "end_s"),
    [
        ((), [], 100.010),  # its own call starts at once
        ((), [100.005], 100.015),  # a call that runs ends first
        ((), [99.0], 100.010),  # a call that is overdue is expected to end any moment
        ((1, 2), [], 100.010),  # those ahead go along
        ((1, 2, 1), [], 100.020),  # those ahead fill a call
        ((4, 4, 3), [100.002], 100.032),  # two full calls, and a place in the third
    ],
)
def test_an_escalation_ends_after_the_running_call_and_those_ahead_of_it(
    waiting: tuple[int, ...], ends_s: list[float], end_s: float
) -> None:
    assert taught().expected_end_s(100.0, 1, 1, queue(*waiting), ends_s) == pytest.approx(end_s)


def test_a_place_for_another_call_means_no_wait_for_the_running_one() -> None:
    forecast = taught(calls_in_flight=2)
    assert forecast.expected_end_s(100.0, 1, 1, [], [100.5]) == pytest.approx(100.010)
    assert forecast.expected_end_s(100.0, 1, 1, [], [100.5, 100.2]) == pytest.approx(100.210), "the first to end"


def test_long_items_and_the_batch_window_make_it_later() -> None:
    assert taught().expected_end_s(100.0, 1, 8, [], []) == pytest.approx(100.020)
    assert taught(window_s=0.004).expected_end_s(100.0, 1, 1, [], []) == pytest.approx(100.014)


def test_an_unknown_expert_is_expected_to_answer_at_once() -> None:
    forecast = Forecast(max_batch_size=4, calls_in_flight=1)
    assert forecast.expected_end_s(100.0, 4, 500, [], []) == 100.0


def test_a_refused_shape_is_forgiven_until_it_is_tried_and_others_are_not() -> None:
    forecast = taught()
    before = forecast.expected_ms(1, 1)
    refusals = 0
    while forecast.expected_end_s(0.0, 4, 8, [], []) > 0.015:
        forecast.refused(4, 8)
        refusals += 1
    assert 5 < refusals < 50
    assert forecast.expected_ms(1, 1) == before
    forecast.observe(4, 8, 20.0)
    assert forecast.expected_ms(4, 8) > 15, "one call that is slow as ever tells against it again"


@given(st.lists(st.tuples(st.integers(1, 32), st.integers(1, 512), st.floats(0.1, 500)), min_size=1, max_size=30))
def test_a_forecast_stays_within_what_was_seen(calls: list[tuple[int, int, float]]) -> None:
    forecast = Forecast(max_batch_size=32, calls_in_flight=2)
    for size, length, took_ms in calls:
        forecast.observe(size, length, took_ms)
    slowest = max(took_ms for *_, took_ms in calls)
    for size, length, _ in calls:
        assert 0 < forecast.expected_ms(size, length) <= slowest * (1 + 1e-9)
