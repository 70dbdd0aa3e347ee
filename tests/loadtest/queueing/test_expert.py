"""One expert in virtual time, against queueing theory and against what a single thread can do at most."""

from __future__ import annotations

import pytest

from loadtest.errors import LoadTestError
from loadtest.queueing.expert import Cost, Served, serve

RESNET, BERT = Cost(base_ms=0, item_ms=22), Cost(base_ms=0, item_ms=13)
GPU = Cost(base_ms=20, item_ms=0.1)


def test_at_low_load_every_escalation_is_answered_alone() -> None:
    found = serve(RESNET, 2, seconds=500)
    assert found.missed_per_s < 0.02
    assert found.answered_per_s == pytest.approx(2, rel=0.1)
    assert found.busy == pytest.approx(2 * 0.022, rel=0.1)


@pytest.mark.parametrize(("cost", "most_per_s"), [(RESNET, 1e3 / 22), (BERT, 1e3 / 13), (GPU, 32e3 / 23.2)])
@pytest.mark.parametrize("times", [2, 10])
def test_under_overload_it_answers_what_one_thread_can(cost: Cost, most_per_s: float, times: int) -> None:
    found = serve(cost, times * most_per_s)
    assert 0.95 * most_per_s <= found.answered_per_s <= 1.01 * most_per_s
    assert found.answered_per_s + found.missed_per_s == pytest.approx(times * most_per_s, rel=0.1)
    assert found.work == pytest.approx(1, abs=0.05)


def test_an_expert_that_gains_from_batches_is_busy_long_before_it_is_full() -> None:
    found = serve(GPU, 200)
    assert (found.busy > 0.95, found.work < 0.2, found.missed_per_s) == (True, True, 0)


def test_an_expert_that_gains_nothing_is_as_full_as_it_is_busy() -> None:
    found = serve(BERT, 40)
    assert found.work == pytest.approx(found.busy)


def test_the_share_that_misses_grows_with_the_load_and_shrinks_with_the_budget() -> None:
    def share(found: Served) -> float:
        return found.missed_per_s / (found.answered_per_s + found.missed_per_s)

    shares = [share(serve(RESNET, rate, seconds=200)) for rate in (5, 15, 30, 60)]
    assert shares == sorted(shares)
    assert share(serve(RESNET, 15, budget_ms=200, seconds=200)) < shares[1] / 5


def test_the_same_seed_gives_the_same_run() -> None:
    assert serve(BERT, 30, seed=7) == serve(BERT, 30, seed=7) != serve(BERT, 30, seed=8)


def test_a_budget_that_no_run_fits_into_is_refused() -> None:
    with pytest.raises(LoadTestError, match="must fit into the budget, got 22 ms for 20 ms"):
        serve(RESNET, 1, budget_ms=20)
