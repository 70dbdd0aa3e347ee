"""How many may be in flight, and who is refused first."""

from __future__ import annotations

import pytest

from serving.load.admission import AdaptiveLimit, Admission


def settled(limit: AdaptiveLimit, times_ms: list[float]) -> float:
    """The limit after requests that took so long each, as many in flight as it allows."""
    for took_ms in times_ms:
        limit.observe(took_ms, int(limit.value))
    return limit.value


def test_the_limit_grows_while_nothing_queues_and_stops_at_the_highest() -> None:
    limit = AdaptiveLimit(initial=10, highest=60)
    assert settled(limit, [5.0] * 5) > 10
    assert settled(limit, [5.0] * 1000) == 60


def test_the_limit_shrinks_when_requests_take_longer_than_they_did_and_stops_at_the_lowest() -> None:
    limit = AdaptiveLimit(initial=100, lowest=8)
    settled(limit, [5.0] * 300)
    high = limit.value
    assert settled(limit, [40.0] * 20) < 0.5 * high
    assert settled(limit, [400.0] * 50) >= 8


def test_the_limit_recovers_after_an_overload() -> None:
    limit = AdaptiveLimit(initial=100)
    settled(limit, [5.0] * 300 + [100.0] * 100)
    assert settled(limit, [5.0] * 600) > 200


def test_the_limit_stays_while_few_requests_are_in_flight() -> None:
    limit = AdaptiveLimit(initial=100)
    for _ in range(100):
        limit.observe(500.0, 1)
    assert limit.value == 100


def test_high_priority_is_shed_last() -> None:
    admission = Admission(AdaptiveLimit(initial=20))
    assert sum(admission.enter("normal") for _ in range(100)) == 18
    assert sum(admission.enter("high") for _ in range(100)) == 2
    assert admission.shed == {"normal": 82, "high": 98}
    admission.leave(None)
    assert not admission.enter("normal")
    assert admission.enter("high")


@pytest.mark.parametrize("took_ms", [None, 3.0])
def test_a_request_that_leaves_makes_room(took_ms: float | None) -> None:
    admission = Admission(AdaptiveLimit(initial=10))
    while admission.enter("normal"):
        pass
    admission.leave(took_ms)
    assert admission.enter("normal")
