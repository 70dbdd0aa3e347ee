"""The verdict over a life: false alarms, how soon a change is found, how the threshold rises and what heals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import binom

from serving.audit.broker import MAX_UNACKED
from serving.audit.state import AGREES, KEPT_IDS, AuditState, Rule, Stretch, Told

RULE = Rule(alpha=0.01, delta=0.05)
LIVES = 1_000
NOW = "2026-01-01T00:00:00+00:00"


def told(
    agrees: int = 0, differs: int = 0, *, place: int = 0, level: int = 0, life: int = 0, trusted: float = 1.0
) -> Told:
    """Audited items, each of a hundred that the screen was trusted on, of all items the share `trusted`."""
    results = Counter({(0, AGREES): agrees, (0, place): differs})
    n = 100 * (agrees + differs)
    return Told(life=life, items=round(n / trusted), trusted=n, results=+results)


def lived(rng: np.random.Generator, state: AuditState, rate: float, n: int, rule: Rule = RULE) -> int | None:
    """Add `n` audited items with misses at a rate; after how many the promise broke, None where it did not."""
    done = 0
    for gap in gaps(rng, rate):
        agrees = min(gap, n - done)
        state.add(told(agrees, 0 if agrees < gap else 1, life=state.life), rule, NOW)
        done += agrees + 1
        if state.broken:
            return min(done, n)
        if done >= n:
            return None
    return None


def gaps(rng: np.random.Generator, rate: float) -> Iterator[int]:
    while True:
        yield from (rng.geometric(rate, 100) - 1).tolist()


def test_false_alarms_are_rarer_than_delta_over_a_thousand_lives_with_a_rate_of_exactly_alpha() -> None:
    rng = np.random.default_rng(5)
    broken = sum(lived(rng, AuditState(), RULE.alpha, 12_000) is not None for _ in range(LIVES))
    assert broken <= binom.ppf(0.999, LIVES, RULE.delta)


def test_three_times_alpha_is_found_within_five_thousand_audited_items_also_after_a_long_good_time() -> None:
    rng, soon = np.random.default_rng(6), 0
    for _ in range(200):
        state = AuditState()
        assert lived(rng, state, RULE.alpha / 5, 30_000) is None
        found = lived(rng, state, 3 * RULE.alpha, 5_000)
        soon += found is not None
    assert soon >= 0.95 * 200
    early = sum(lived(rng, AuditState(), 3 * RULE.alpha, 5_000) is not None for _ in range(200))
    assert early >= 0.95 * 200


def test_a_few_good_items_leave_it_undecided_and_many_let_it_hold() -> None:
    state = AuditState()
    assert state.verdict(RULE) == "undecided"
    state.add(told(200), RULE, NOW)
    assert (state.verdict(RULE), state.bound(RULE) > RULE.alpha) == ("undecided", True)
    state.add(told(1_900), RULE, NOW)
    assert state.verdict(RULE) == "undecided"
    state.add(told(50), RULE, NOW)
    assert (state.verdict(RULE), state.bound(RULE) <= RULE.alpha) == ("holds", True), "docs/promise.md says 2,150"


def test_the_rate_is_that_of_all_items_though_the_trusted_alone_are_audited() -> None:
    """Of the trusted 3 % differ, and a quarter of all is trusted: 0.75 % of all."""
    state = AuditState()
    for _ in range(100):
        state.add(told(97, 3, trusted=0.25), RULE, NOW)
    assert state.whole.rate() == pytest.approx(0.0075, rel=0.01)
    assert state.verdict(RULE) == "holds"
    state = AuditState()
    for _ in range(20):
        state.add(told(97, 3, trusted=1.0), RULE, NOW)
    assert state.verdict(RULE) == "broken"
    assert "60 " in state.broken or "got another answer" in state.broken


def test_an_item_drawn_at_half_the_share_stands_for_two() -> None:
    stretch = Stretch(items=100, trusted=100)
    for level, differs in ((0, False), (0, False), (1, True)):
        stretch.count(level, 0 if differs else AGREES)
    assert (stretch.n, stretch.weight) == (3, 4)
    assert stretch.rate() == 0.5


def test_the_counts_of_an_earlier_life_no_longer_count() -> None:
    state = AuditState()
    state.add(told(20, 30), RULE, NOW)
    assert (state.verdict(RULE), state.life, state.whole.n) == ("broken", 1, 0)
    state.add(told(0, 10, life=0), RULE, NOW)
    assert (state.whole.n, state.audited, state.disagreed) == (0, 60, 40)


def test_what_broke_is_told_and_mended_by_new_evidence_alone() -> None:
    state = AuditState()
    state.add(told(20, 30), RULE, NOW)
    assert "30 since the last change" in state.broken
    assert "at most 1.00% are promised" in state.broken
    assert state.broken_at == NOW
    assert state.raised == []
    state.add(told(1_000, life=1), RULE, NOW)
    assert state.verdict(RULE) == "broken"
    state.add(told(5_000, life=1), RULE, NOW)
    assert state.verdict(RULE) == "holds"
    assert state.broken == state.broken_at == ""


RAISES = Rule(alpha=0.01, delta=0.05, thresholds=(0.8, 0.9, 0.95, 1.000001), raises=True)


def test_the_threshold_rises_to_the_first_one_that_would_have_kept_the_promise_and_never_falls() -> None:
    state = AuditState()
    # Nearly all misses have a confidence of 0.8 to 0.9; a few reach 0.9.
    low, high = RAISES.place(0.85), RAISES.place(0.92)
    assert (low, high) == (1, 2)
    state.add(told(1_000, 60, place=low), RAISES, NOW)
    (raised,) = state.raised
    assert (raised.threshold, raised.before, raised.at, raised.reason) == (0.9, 0.8, NOW, state.broken)
    assert state.threshold(0.8) == 0.9
    state.add(told(20_000, life=1), RAISES, NOW)
    assert (state.verdict(RAISES), state.threshold(0.8)) == ("holds", 0.9)
    state.add(told(100, 60, place=high, life=1), RAISES, NOW)
    assert [each.threshold for each in state.raised] == [0.9, 0.95]


def test_it_rises_again_while_it_is_still_broken_and_at_last_everything_defers() -> None:
    state = AuditState()
    place = RAISES.place(0.99)
    for life in range(2):
        state.add(told(100, 60, place=place, life=life), RAISES, NOW)
    # No threshold below the last one would have helped.
    assert [each.threshold for each in state.raised] == [1.000001]
    assert state.broken
    state.add(Told(life=state.life, items=10, trusted=0), RAISES, NOW)
    assert state.verdict(RAISES) == "holds", "nothing is trusted any more"


def test_without_certified_thresholds_nothing_rises() -> None:
    state = AuditState()
    state.add(told(20, 30), Rule(alpha=0.01, delta=0.05), NOW)
    assert state.broken
    assert state.raised == []


def test_a_window_of_half_to_a_whole_length_always_runs() -> None:
    state = AuditState()
    for _ in range(70):
        state.add(told(100), RULE, NOW)
        if state.whole.n > RULE.half:
            assert RULE.half <= state.windows[0].n <= 2 * RULE.half
        assert len(state.windows) <= 2
    assert state.windows[-1].number == 70 * 100 // RULE.half + 1
    assert 0 < state.window_bound(RULE) < 0.02


def test_a_report_counts_once_however_often_it_comes_and_one_without_an_answer_was_dropped() -> None:
    state = AuditState()
    first = Told(items=3, trusted=3, reported={"1": (0, AGREES), "2": (0, 1), "3": None})
    for told_once_more in (first, first, Told(reported={"2": (0, 1), "4": (1, AGREES)})):
        state.add(told_once_more, RULE, "now")
    assert (state.audited, state.disagreed, state.dropped) == (3, 1, 1)
    assert (state.whole.audited[:2], state.whole.items) == ([2, 1], 6)
    assert state.reported == ["1", "2", "3", "4"]


def test_so_many_ids_are_remembered_that_no_broker_brings_an_older_one_again() -> None:
    state = AuditState()
    state.add(Told(reported={str(number): None for number in range(2 * KEPT_IDS)}), RULE, "now")
    assert state.reported == [str(number) for number in range(KEPT_IDS, 2 * KEPT_IDS)]
    assert KEPT_IDS > MAX_UNACKED


def test_what_two_processes_tell_of_one_report_counts_once() -> None:
    one, other = Told(reported={"1": (0, AGREES)}), Told(reported={"1": (0, AGREES), "2": None})
    one.add(other)
    assert one.counts() == ({(0, AGREES): 1}, 1)
    assert one.counts({"1"}) == ({}, 1)
    assert bool(Told(reported={"1": None}))
