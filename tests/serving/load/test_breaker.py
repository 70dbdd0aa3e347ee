"""When the circuit breaker lets a call through."""

from __future__ import annotations

from serving.load.breaker import CircuitBreaker


def test_a_half_open_breaker_lets_one_call_through_and_waits_longer_after_each_failure() -> None:
    breaker = CircuitBreaker(failures=2, cool_down_s=1, max_cool_down_s=3)
    assert breaker.begin(0)
    breaker.failed(0)
    assert breaker.begin(0)
    breaker.failed(0)
    assert breaker.state(0.9) == "open"
    assert not breaker.begin(0.9)
    assert breaker.state(1) == "half-open"
    assert breaker.begin(1)
    assert not breaker.begin(1), "one try at a time"
    breaker.abandoned()
    assert breaker.begin(1)
    breaker.failed(1)
    assert [breaker.state(t) for t in (2.9, 3)] == ["open", "half-open"]
    assert breaker.begin(3)
    breaker.failed(3)
    assert [breaker.state(t) for t in (5.9, 6)] == ["open", "half-open"], "never longer than the longest"
    assert breaker.begin(6)
    breaker.succeeded()
    breaker.failed(7)
    assert breaker.state(7) == "closed", "a success forgets"
