"""What is drawn: a share, whatever it says, and less while the expert has no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scipy.stats import binom

from serving.audit.betting import WEIGHTS
from serving.audit.share import LOOK_EVERY, Share


@pytest.mark.parametrize("full", [0.01, 0.3])
def test_each_item_is_drawn_with_the_same_probability_and_a_seed_gives_the_same_ones(full: float) -> None:
    n = 20_000
    drawn = [share.draws() for share in [Share(full, seed=1)] for _ in range(n)]
    assert drawn == [share.draws() for share in [Share(full, seed=1)] for _ in range(n)]
    assert drawn != [share.draws() for share in [Share(full, seed=2)] for _ in range(n)]
    low, high = binom.ppf([0.0005, 0.9995], n, full)
    assert low <= sum(drawn) <= high
    first = sum(Share(full, seed=seed).draws() for seed in range(n))
    assert low <= first <= high, "the first item as well as any other"


def test_a_share_of_one_draws_everything() -> None:
    share = Share(1.0)
    assert all(share.draws() for _ in range(100))


def looks(share: Share, dropped: Iterator[bool]) -> list[int]:
    levels = []
    for number, each in enumerate(dropped, start=1):
        share.became(dropped=each)
        if number % LOOK_EVERY == 0:
            levels.append(share.level)
    return levels


def test_it_is_halved_while_most_is_dropped_down_to_a_floor_and_comes_back() -> None:
    share = Share(0.4, seed=1)
    assert looks(share, iter([True] * 4 * LOOK_EVERY)) == [1, 2, 2, 2]
    assert share.share == 0.4 / WEIGHTS[-1]
    assert looks(share, iter([True, False, False, False] * LOOK_EVERY)) == [2] * 4, "neither many nor few"
    assert looks(share, iter([False] * 3 * LOOK_EVERY)) == [1, 0, 0]


def test_at_half_the_share_half_as_many_are_drawn() -> None:
    share, n = Share(0.2, seed=3), 20_000
    looks(share, iter([True] * LOOK_EVERY))
    low, high = binom.ppf([0.0005, 0.9995], n, 0.1)
    assert low <= sum(share.draws() for _ in range(n)) <= high
