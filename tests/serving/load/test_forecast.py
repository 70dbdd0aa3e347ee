"""How long calls are expected to take, and when a new one would end. In virtual time."""

from __future__ import annotations

import math

import pytest

from serving.load.forecast import TIMER_S, Forecast


def test_each_length_of_items_has_its_own_expected_time() -> None:
    forecast = Forecast(max_batch_size=32, calls_in_flight=1)
    assert forecast.run_ms(1, 16) == 0
    forecast.observe(1, 16, 3.0, 2.0)
    forecast.observe(32, 16, 41.0, 40.0)
    assert forecast.run_ms(1, 9) == 2.0, "9 to 16 tokens are one step"
    assert forecast.run_ms(4, 128) == 40.0, "as the nearest shorter ones with as many tokens, until they are known"
    assert (forecast.hop_ms(4, 128), forecast.hop_ms(4, 16)) == (1.0, 1.0)
    forecast.observe(1, 128, 9.0, 8.0)
    assert (forecast.run_ms(1, 128), forecast.run_ms(1, 16)) == (8.0, 2.0)


def test_shorter_items_are_never_expected_to_take_longer_and_longer_ones_never_less() -> None:
    forecast = Forecast(max_batch_size=4, calls_in_flight=1)
    forecast.observe(1, 8, 120.0, 120.0)  # the very first call, cold
    forecast.observe(1, 16, 5.0, 5.0)
    assert forecast.run_ms(1, 8) == 5
    for _ in range(3):
        forecast.observe(1, 8, 3.0, 3.0)
    assert (forecast.run_ms(1, 8), forecast.run_ms(1, 16)) == (3, 5)
    for _ in range(50):
        forecast.observe(1, 8, 9.0, 9.0)
    assert forecast.run_ms(1, 16) == pytest.approx(forecast.run_ms(1, 8)) == pytest.approx(9, rel=1e-1)


def test_a_call_that_may_have_waited_behind_another_one_teaches_no_hop() -> None:
    forecast = Forecast(max_batch_size=4, calls_in_flight=1)
    forecast.observe(1, 1, 11.0, 10.0)
    for _ in range(50):
        forecast.observe(1, 1, 21.0, 10.0, hop_known=False)
    assert (forecast.run_ms(1, 1), forecast.hop_ms(1, 1)) == (10.0, 1.0)


def taught(*, hop_ms: float = 0.0, calls_in_flight: int = 1, window_s: float = 0.0) -> Forecast:
    """A forecast for batches of 4 whose calls take 10 ms each, and of 8 tokens or more 20 ms."""
    forecast = Forecast(max_batch_size=4, calls_in_flight=calls_in_flight, window_s=window_s)
    for size in (1, 2, 4):
        forecast.observe(size, 1, 10.0 + hop_ms, 10.0)
        forecast.observe(size, 8, 20.0 + hop_ms, 20.0)
    return forecast


@pytest.mark.parametrize(
    ("ends_s", "free_s"),
    [
        ((), 100.0),
        ([100.005], 100.005),  # a call that runs ends first
        ([100.005, 100.015], 100.015),  # and the one behind it
        ([99.9], 100.1),  # a call that is overdue is expected to take as much longer as it is late
    ],
)
def test_the_expert_is_free_after_the_calls_under_way(ends_s: list[float], free_s: float) -> None:
    assert taught().free_s(100.0, ends_s) == pytest.approx(free_s)
    assert taught().earliest_end_s(100.0, 1, 1, ends_s) == pytest.approx(free_s + 0.010)


def test_machines_side_by_side_take_a_call_each() -> None:
    forecast = taught(calls_in_flight=2)
    assert forecast.free_s(100.0, [100.5]) == 100.0
    assert forecast.free_s(100.0, [100.5, 100.2]) == 100.2, "the first to end"
    assert forecast.free_s(100.0, [100.5, 100.2, 100.3]) == 100.3, "one waits behind the first"


def test_a_call_goes_when_its_way_takes_as_long_as_the_running_call() -> None:
    forecast = taught(hop_ms=2.0)
    assert forecast.may_go_s(100.0, 1, 1, []) == 100.0
    assert forecast.may_go_s(100.0, 1, 1, [100.008]) == pytest.approx(100.006 - TIMER_S)
    assert forecast.may_go_s(100.0, 1, 1, [100.001]) < 100.0
    assert forecast.may_go_s(100.0, 1, 1, [100.001, 100.011]) == math.inf, "one is on its way"
    assert forecast.end_s(100.0, 1, 1, 100.0) == pytest.approx(100.012)
    assert forecast.end_s(100.0, 1, 1, 100.008) == pytest.approx(100.018), "its way was hidden"


def test_long_items_the_way_and_the_batch_window_make_it_later() -> None:
    assert taught().earliest_end_s(100.0, 1, 8, []) == pytest.approx(100.020)
    assert taught(hop_ms=3.0).earliest_end_s(100.0, 1, 1, []) == pytest.approx(100.013)
    assert taught(window_s=0.004).earliest_end_s(100.0, 1, 1, []) == pytest.approx(100.014)


def test_an_unknown_expert_is_expected_to_answer_at_once() -> None:
    assert Forecast(max_batch_size=4, calls_in_flight=1).earliest_end_s(100.0, 4, 500, []) == 100.0


def test_a_refused_length_is_forgiven_until_it_is_tried_and_others_are_not() -> None:
    forecast = taught()
    for _ in range(2):
        refusals = 0
        while forecast.earliest_end_s(0.0, 4, 8, []) > 0.015:
            forecast.refused(8, 0.0)
            refusals += 1
        assert 5 < refusals < 50
        assert forecast.earliest_end_s(0.0, 1, 1, []) == pytest.approx(0.010)
        forecast.observe(4, 8, 20.0, 20.0)
        assert forecast.earliest_end_s(0.0, 4, 8, []) == pytest.approx(0.020), "slow as ever: all is as it was"


@pytest.mark.parametrize("every_s", [0.5, 60.0])
def test_a_refused_length_is_forgiven_by_time_where_few_ask(every_s: float) -> None:
    """Else one escalation in a while would be refused for a long time, though the expert is well again."""
    forecast = taught()
    forecast.observe(1, 8, 500.0, 500.0)
    refused_s = [0.0]
    while forecast.earliest_end_s(0.0, 1, 8, []) > 0.050:
        forecast.refused(8, refused_s[-1])
        refused_s.append(refused_s[-1] + every_s)
    assert refused_s[-1] <= max(5.0, 2 * every_s)


def test_a_call_that_was_tried_and_is_far_quicker_ends_what_was_learned_while_it_was_slow() -> None:
    forecast = taught(hop_ms=1.0)
    for _ in range(3):
        forecast.gave_up(1, 1, 200.0)
    slow_ms = forecast.run_ms(1, 1)
    assert slow_ms > 100
    assert forecast.run_ms(1, 8) >= slow_ms
    forecast.refused(1, 0.0)
    forecast.observe(1, 1, 11.0, 10.0)
    assert forecast.run_ms(1, 1) == pytest.approx(10.0)
    assert forecast.run_ms(1, 8) <= 30.0, "nor does it hold for longer ones"
    assert forecast.earliest_end_s(0.0, 1, 1, []) < 0.05


def test_a_call_that_was_given_up_takes_at_least_so_long() -> None:
    forecast = taught(hop_ms=1.0)
    forecast.gave_up(1, 1, 8.0)
    assert forecast.run_ms(1, 1) == 10.0, "that it takes more than 7 ms was known"
    for _ in range(60):
        forecast.gave_up(1, 1, 101.0)
    assert 80 < forecast.run_ms(1, 1) <= 100
    assert forecast.run_ms(4, 8) >= forecast.run_ms(1, 1)
