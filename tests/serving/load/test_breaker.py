"""When the circuit breaker lets a call through."""

from __future__ import annotations

import pytest

from serving.load.breaker import CircuitBreaker, Token


def begun(breaker: CircuitBreaker, now_s: float) -> Token:
    token = breaker.begin(now_s)
    assert token is not None
    return token


def test_a_half_open_breaker_lets_one_call_through_and_waits_longer_after_each_failure() -> None:
    breaker = CircuitBreaker(failures=2, cool_down_s=1, max_cool_down_s=3)
    breaker.failed(begun(breaker, 0), 0)
    breaker.failed(begun(breaker, 0), 0)
    assert breaker.state(0.9) == "open"
    assert breaker.begin(0.9) is None
    assert breaker.state(1) == "half-open"
    trial = begun(breaker, 1)
    assert breaker.begin(1) is None, "one try at a time"
    breaker.abandoned(trial)
    breaker.failed(begun(breaker, 1), 1)
    assert [breaker.state(t) for t in (2.9, 3)] == ["open", "half-open"]
    breaker.failed(begun(breaker, 3), 3)
    assert [breaker.state(t) for t in (5.9, 6)] == ["open", "half-open"], "never longer than the longest"
    breaker.succeeded(begun(breaker, 6))
    breaker.failed(begun(breaker, 7), 7)
    assert breaker.state(7) == "closed", "a success forgets"


def opened(calls: int) -> tuple[CircuitBreaker, list[Token]]:
    """A breaker that three of so many simultaneous calls have opened, and the tokens of the others."""
    breaker = CircuitBreaker(failures=3, cool_down_s=1)
    tokens = [begun(breaker, 0) for _ in range(calls)]
    for token in tokens[:3]:
        breaker.failed(token, 0)
    assert breaker.state(0.5) == "open"
    return breaker, tokens[3:]


def test_calls_that_began_before_it_opened_do_not_double_the_cool_down() -> None:
    breaker, others = opened(8)
    for token in others:
        breaker.failed(token, 0.5)
    assert [breaker.state(t) for t in (0.9, 1)] == ["open", "half-open"]


def test_a_call_that_began_before_it_opened_does_not_close_it() -> None:
    breaker, (before, *others) = opened(5)
    breaker.succeeded(before)
    assert breaker.state(0.5) == "open"
    trial = begun(breaker, 1)
    for token in others:
        breaker.abandoned(token)
    assert breaker.begin(1) is None, "the try goes on"
    breaker.succeeded(trial)
    assert breaker.state(1) == "closed"
    breaker.failed(before, 1)
    breaker.failed(before, 1)
    breaker.failed(before, 1)
    assert breaker.state(1) == "closed"


@pytest.mark.parametrize("outage_s", [0.3, 1.0, 3.7, 10.0, 17.0, 60.0, 3_600.0])
def test_calls_go_through_within_five_seconds_after_an_outage_of_any_length(outage_s: float) -> None:
    breaker, now_s = CircuitBreaker(), 0.0
    while True:
        token = breaker.begin(now_s)
        if token is not None and now_s >= outage_s:
            break
        if token is not None:
            breaker.failed(token, now_s)
        now_s += 0.01
    assert now_s - outage_s <= 5
