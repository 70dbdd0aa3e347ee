"""Rates in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.load.rate import Rate, RateByAddress, owner_of


def test_a_second_s_worth_may_come_at_once_and_then_each_in_its_time() -> None:
    rate = Rate(4)
    assert [rate.take(100.0) for _ in range(4)] == [0] * 4
    assert rate.take(100.0) == pytest.approx(0.25)
    assert rate.take(100.1) == pytest.approx(0.15)
    assert rate.take(100.3) == 0
    assert rate.take(100.3) > 0
    assert [rate.take(200.0) for _ in range(4)] == [0] * 4, "a long pause gives no more than a second's worth"
    assert rate.take(200.0) > 0


def test_less_than_one_a_second_lets_one_through() -> None:
    rate = Rate(0.1)
    assert rate.take(5.0) == 0
    assert rate.take(5.0) == pytest.approx(10.0)
    assert rate.take(15.1) == 0


@given(
    per_s=st.floats(0.1, 1000),
    waits=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_more_than_the_rate_is_let_through_however_the_requests_come(per_s: float, waits: list[float]) -> None:
    rate, now_s, let = Rate(per_s), 1000.0, 0
    for wait_s in waits:
        now_s += wait_s
        left_s = rate.take(now_s)
        assert 0 <= left_s <= 1 / per_s + 1e-6
        let += left_s == 0
    assert let <= max(1.0, per_s) + (now_s - 1000.0) * per_s + 1e-6


def test_each_address_has_its_own_and_the_oldest_are_forgotten() -> None:
    rates = RateByAddress(1, most_addresses=2)
    assert rates.take("10.0.0.1", 1.0) == rates.take("10.0.0.2", 1.0) == 0
    assert rates.take("10.0.0.1", 1.0) > 0
    assert rates.take("10.0.0.3", 1.0) == 0, "10.0.0.2 is forgotten"
    assert rates.take("10.0.0.1", 1.0) > 0
    assert rates.take("10.0.0.2", 1.0) == 0


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
    ids=["v4", "mapped", "v6", "same network", "word", "none"],
)
def test_an_ipv6_address_counts_as_its_network(address: str, owner: str) -> None:
    assert owner_of(address) == owner
