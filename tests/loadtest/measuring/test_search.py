"""The search for the highest rate, against services whose capacity is known."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loadtest.measuring.search import CONFIRMATIONS, MAX_RUNS, highest_rate


class Synthetic:
    """Keeps the objective up to `capacity` requests a second, and answers 99 of 100."""

    def __init__(self, capacity: float) -> None:
        self.capacity, self.rates = capacity, list[float]()

    def __call__(self, rate: float) -> dict[str, Any]:
        self.rates.append(rate)
        return {"passed": rate <= self.capacity, "figures": {"goodput_per_s": 0.99 * min(rate, self.capacity)}}


@given(capacity=st.floats(2, 5_000), start=st.floats(5, 500))
def test_the_capacity_is_found_from_below_within_the_precision(capacity: float, start: float) -> None:
    service = Synthetic(capacity)
    found = highest_rate(service, start, precision=1.05, most=60)
    assert found.rate_per_s <= capacity < 1.05 * found.rate_per_s
    assert found.goodput_per_s == 0.99 * found.rate_per_s
    assert found.runs == len(set(service.rates))
    assert found.result is not None
    assert found.result["passed"]


@given(capacity=st.floats(0.01, 50_000), start=st.floats(5, 500))
def test_it_stops_in_time_and_claims_only_what_it_saw(capacity: float, start: float) -> None:
    service = Synthetic(capacity)
    found = highest_rate(service, start)
    assert found.runs == len(set(service.rates)) <= MAX_RUNS
    kept = [rate for rate in service.rates if rate <= capacity]
    assert found.rate_per_s == max(kept, default=0.0)
    assert (found.result is None) == (not kept)


@given(capacity=st.floats(2, 5_000), keeps=st.floats(0.7, 1.0))
def test_what_is_found_is_confirmed_by_a_stricter_run(capacity: float, keeps: float) -> None:
    service, strict = Synthetic(capacity), Synthetic(keeps * capacity)
    found = highest_rate(service, 100.0, precision=1.05, most=60, confirm=strict)
    assert found.result is not None
    assert 0.8 * keeps * capacity < found.rate_per_s <= keeps * capacity
    assert found.rate_per_s == strict.rates[-1]
    assert found.goodput_per_s == 0.99 * found.rate_per_s
    assert found.broken is not None
    assert not found.broken["passed"]
    assert sorted(strict.rates, reverse=True) == strict.rates


def test_what_no_stricter_run_confirms_is_not_claimed() -> None:
    strict = Synthetic(1.0)
    found = highest_rate(Synthetic(300.0), 100.0, confirm=strict)
    assert (found.rate_per_s, found.goodput_per_s, found.result) == (0.0, 0.0, None)
    assert found.broken is not None
    assert len(strict.rates) == CONFIRMATIONS
    assert strict.rates[-1] < 0.6 * strict.rates[0]


def test_nothing_is_confirmed_where_nothing_was_found() -> None:
    strict = Synthetic(1.0)
    assert highest_rate(Synthetic(0.0), 100.0, confirm=strict).result is None
    assert not strict.rates


def test_one_moment_of_somebody_elses_work_is_no_limit() -> None:
    service, seen = Synthetic(300.0), set[float]()

    def disturbed(rate: float) -> dict[str, Any]:
        """Each rate fails when it is tried first."""
        result = service(rate)
        first = rate not in seen
        seen.add(rate)
        return result | {"passed": result["passed"] and not first}

    found = highest_rate(disturbed, 100.0, precision=1.05, most=60)
    assert found.rate_per_s <= 300 < 1.05 * found.rate_per_s
    # A rate that fails is tried twice, one that holds at once is not tried again.
    assert all(service.rates.count(rate) == 2 for rate in seen)
