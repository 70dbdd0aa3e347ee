"""A machine among several that is slow, fails, and gets well again, in virtual time."""

from __future__ import annotations

import numpy as np
import pytest

from serving.expert.outliers import FIRST_REST_S, LAST, LEAST, LONGEST_REST_S, Outliers

MACHINES = ("a", "b", "c")


def play(
    took_s: dict[str, float], *, outliers: Outliers, from_s: float = 0.0, seconds: float = 2.0, failed: str = ""
) -> list[tuple[str, float, float]]:
    """Calls to machines in turn that do not rest, 100 a second: who was sent to rest, when, and for how long."""
    outliers.only(list(took_s))
    sent = []
    for number in range(int(100 * seconds)):
        now_s, address = from_s + number / 100, MACHINES[number % len(MACHINES)]
        if address in took_s and not outliers.rests(address, now_s):
            rest_s = outliers.ended(address, 1_000, took_s[address], now_s, failed=address == failed)
            sent += [(address, now_s, rest_s)] if rest_s else []
    return sent


def test_one_that_is_ten_times_slower_rests_and_comes_back() -> None:
    outliers = Outliers()
    ((who, when_s, rest_s),) = play({"a": 0.003, "b": 0.003, "c": 0.03}, outliers=outliers)
    assert (who, rest_s) == ("c", FIRST_REST_S)
    assert when_s < 3 * LEAST / 100 + 0.01, "after its first calls"
    assert outliers.rests("c", when_s + FIRST_REST_S - 0.01)
    assert not outliers.rests("c", when_s + FIRST_REST_S)
    assert play(dict.fromkeys(MACHINES, 0.003), outliers=outliers, from_s=when_s + FIRST_REST_S) == []


def test_rests_that_follow_each_other_grow() -> None:
    outliers = Outliers()
    rests = [rest_s for _, _, rest_s in play({"a": 0.003, "b": 0.003, "c": 0.03}, outliers=outliers, seconds=400)]
    assert rests[:5] == [5.0, 10.0, 20.0, 40.0, 60.0]
    assert set(rests[4:]) == {LONGEST_REST_S}


def test_a_rest_after_it_was_well_is_short_again() -> None:
    outliers, slow, fine = Outliers(), {"a": 0.003, "b": 0.003, "c": 0.03}, dict.fromkeys(MACHINES, 0.003)
    play(slow, outliers=outliers, seconds=7)
    play(fine, outliers=outliers, from_s=20)
    assert [rest_s for _, _, rest_s in play(slow, outliers=outliers, from_s=30)] == [FIRST_REST_S]


def test_one_that_fails_rests_however_quickly_it_does() -> None:
    outliers = Outliers()
    assert [who for who, _, _ in play(dict.fromkeys(MACHINES, 0.003), outliers=outliers, failed="b")] == ["b"]


@pytest.mark.parametrize(
    "took_s",
    [
        {"a": 0.03},
        {"a": 0.003, "b": 0.003, "c": 0.009},
        {"a": 0.0002, "b": 0.0002, "c": 0.004},
        dict.fromkeys(MACHINES, 2.0),
    ],
    ids=["alone", "three times as slow", "slower by less than anybody minds", "all of them are slow"],
)
def test_none_rests_that_is_no_outlier(took_s: dict[str, float]) -> None:
    assert play(took_s, outliers=Outliers()) == []


def test_the_last_one_that_does_not_rest_goes_on() -> None:
    outliers = Outliers()
    assert [who for who, _, _ in play({"a": 0.003, "b": 0.03}, outliers=outliers)] == ["b"]
    assert play({"a": 3.0, "b": 3.0}, outliers=outliers, from_s=2.0) == []


@pytest.mark.parametrize(("call_s", "item_s"), [(0.002, 0.002), (0.02, 0.0001)], ids=["a CPU", "a GPU"])
def test_batches_of_all_sizes_and_hiccups_send_none_to_rest(call_s: float, item_s: float) -> None:
    outliers, rng = Outliers(), np.random.default_rng(1)
    outliers.only(MACHINES)
    for number in range(5_000):
        items, hiccup_s = int(rng.integers(1, 33)), 0.5 if rng.random() < 0.05 else 0.0
        took_s, address = call_s + item_s * items + hiccup_s, MACHINES[rng.integers(3)]
        assert not outliers.ended(address, 200 + 500 * items, took_s, number / 100, failed=False)


def test_one_of_which_alone_something_is_known_is_held_against_itself() -> None:
    outliers = Outliers()
    outliers.only(MACHINES)
    for number in range(100):
        assert not outliers.ended("a", 1_000, 0.003, number / 100, failed=False)
    slow = [outliers.ended("a", 1_000, 0.03, 1 + number / 100, failed=False) for number in range(LAST)]
    assert slow == [0.0] * (LAST - 1) + [FIRST_REST_S], "when none of its last calls was quick"


def test_an_address_that_the_name_no_longer_has_is_forgotten() -> None:
    outliers = Outliers()
    play({"a": 0.003, "b": 0.003, "c": 0.03}, outliers=outliers, seconds=1)
    assert outliers.rests("c", 1.0)
    outliers.only({"a", "b"})
    assert not outliers.rests("c", 1.0)
