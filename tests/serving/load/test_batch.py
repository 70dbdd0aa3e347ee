"""Which of the waiting escalations make up the next call. In virtual time."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.load.batch import NextBatch, next_batch, sifted
from serving.load.forecast import Forecast, Waiting

NOW_S = 100.0


def forecast(took_ms: float = 10.0) -> Forecast:
    """Of an expert that takes 8 items of any length, and for each 1 ms more than for the one before."""
    made = Forecast(max_batch_size=8, calls_in_flight=1)
    for size, length in product((1, 2, 4, 8), (1, 2, 4, 8, 16, 32, 64, 128)):
        made.observe(size, length, took_ms + size, took_ms + size)
    return made


def divided(waiting: list[Waiting], known: Forecast | None = None, *, busy_ms: float = 0.0) -> NextBatch[Waiting]:
    """The queue, divided for a call to an expert that is busy for so long."""
    return next_batch(waiting, NOW_S, NOW_S + busy_ms / 1e3, known or forecast())


def escalation(size: int = 1, length: int = 16, left_ms: float = 1000.0) -> Waiting:
    return Waiting(size, length, NOW_S + left_ms / 1e3)


def test_an_empty_queue_gives_an_empty_batch() -> None:
    assert divided([]).batch == []


def test_the_oldest_goes_first_with_all_that_fit() -> None:
    waiting = [escalation(size) for size in (3, 4, 2, 1, 1)]
    formed = divided(waiting)
    assert formed.batch == [waiting[0], waiting[1], waiting[3]]
    assert formed.rest == [waiting[2], waiting[4]]
    assert (formed.size, formed.length) == (8, 16)


def test_only_items_of_like_length_go_along() -> None:
    waiting = [escalation(length=length) for length in (9, 17, 16, 8, 12)]
    formed = divided(waiting)
    assert [entry.length for entry in formed.batch] == [9, 16, 12]
    assert [entry.length for entry in formed.rest] == [17, 8]
    assert formed.length == 16


def test_an_escalation_that_can_no_longer_be_in_time_is_late() -> None:
    waiting = [escalation(left_ms=5), escalation(left_ms=500), escalation(left_ms=10.9)]
    formed = divided(waiting)
    assert formed.late == [waiting[0], waiting[2]]
    assert formed.batch == [waiting[1]]


def test_a_batch_grows_only_while_every_deadline_in_it_can_be_kept() -> None:
    urgent = escalation(left_ms=12.5)
    waiting = [urgent, escalation(), escalation()]
    formed = divided(waiting)
    assert formed.batch == waiting[:2], "three items would take 14 ms"
    assert formed.rest == waiting[2:]


def test_an_urgent_escalation_goes_before_older_ones_that_can_wait() -> None:
    waiting = [escalation(size=4), escalation(left_ms=12), escalation(size=2)]
    formed = divided(waiting)
    assert formed.batch == [waiting[1]], "two items would take 12 ms, so it goes alone"
    assert formed.rest == [waiting[0], waiting[2]]


def test_nobody_is_left_behind_while_all_can_be_answered_one_call_after_the_other() -> None:
    waiting = [escalation(left_ms=11.5), *(escalation(left_ms=40) for _ in range(8))]
    formed = divided(waiting)
    assert formed.batch == waiting[:1]
    assert formed.rest == waiting[1:]


def test_of_too_many_those_go_that_give_the_most_answers_a_millisecond() -> None:
    waiting = [escalation(left_ms=11.5), *(escalation(left_ms=20) for _ in range(8))]
    formed = divided(waiting)
    assert formed.batch == waiting[1:], "the first alone would take 11 ms, and then the others could not be in time"
    assert formed.late == waiting[:1]
    assert formed.rest == []


def test_whoever_the_running_call_makes_late_is_late() -> None:
    waiting = [escalation(left_ms=20), escalation(left_ms=25)]
    formed = divided(waiting, busy_ms=12)
    assert (formed.late, formed.batch) == (waiting[:1], waiting[1:])


def test_the_oldest_are_given_up_where_even_the_best_calls_are_too_few() -> None:
    """8 items take 18 ms. 20 items need 45 ms, and 40 are there."""
    waiting = [escalation(left_ms=40 + number / 100) for number in range(20)]
    possible, late = sifted(waiting, NOW_S, NOW_S, forecast())
    assert late == waiting[:3]
    assert possible == waiting[3:]


entries = st.lists(st.builds(escalation, st.integers(1, 8), st.integers(1, 64), st.floats(1, 100)), max_size=20)


@given(entries, st.floats(0.1, 50))
@example([Waiting(1, 1, NOW_S + 0.042), Waiting(1, 1, NOW_S + 0.09), Waiting(7, 2, NOW_S + 0.09)], 41.0)
def test_nothing_is_lost_and_a_batch_keeps_its_limits(waiting: list[Waiting], took_ms: float) -> None:
    known = forecast(took_ms)
    formed = divided(waiting, known)
    assert sorted(map(id, [*formed.batch, *formed.late, *formed.rest])) == sorted(map(id, waiting))
    assert formed.size == sum(entry.size for entry in formed.batch) <= 8
    if formed.batch:
        expected_s = known.run_ms(formed.size, formed.length) / 1e3
        assert NOW_S + expected_s <= min(entry.deadline_s for entry in formed.batch)
        assert formed.length == max(entry.length for entry in formed.batch)
    else:
        assert formed.rest == []
    sent = set(map(id, formed.batch))
    for entry in formed.late:
        after_s = NOW_S + known.run_ms(formed.size, formed.length) / 1e3 if formed.batch else NOW_S
        alone_s = known.run_ms(entry.size, entry.length) / 1e3
        others = [other for other in waiting if other.deadline_s >= entry.deadline_s]
        left = sum(other.size for other in others if id(other) not in sent)
        least_s = known.least_s(1)
        too_many = NOW_S + sum(other.size for other in others) * least_s > entry.deadline_s
        too_many_after = after_s + left * least_s > entry.deadline_s
        last_s = max(other.deadline_s for other in waiting)
        assert after_s + alone_s > entry.deadline_s or too_many or too_many_after or last_s > entry.deadline_s


def test_a_queue_is_worked_off_in_turns() -> None:
    waiting = [escalation(1 + place % 8, 1 + 7 * place % 90) for place in range(30)]
    sent = 0
    while waiting:
        formed = divided(waiting)
        assert formed.batch
        sent += len(formed.batch)
        waiting = formed.rest
    assert sent == 30


GPU_MS, ITEM_MS, TOKEN_MS = 20.0, 0.1, 0.002


def gpu(*, max_batch_tokens: int, lengths: tuple[int, ...]) -> Forecast:
    """Of a GPU: 20 ms for a call and 0.1 ms for an item, and what each padded token takes; taught some lengths."""
    made = Forecast(max_batch_size=32, calls_in_flight=1, max_batch_tokens=max_batch_tokens)
    for size, length in product((1, 2, 4, 8, 16, 32), lengths):
        if size <= made.most_items(length):
            took_ms = GPU_MS + ITEM_MS * size + TOKEN_MS * size * length
            made.observe(size, length, took_ms, took_ms)
    return made


def test_a_batch_has_no_more_padded_tokens_than_a_call_may_have() -> None:
    known = gpu(max_batch_tokens=4_096, lengths=(16, 128, 512))
    assert [known.most_items(length) for length in (16, 128, 129, 300, 512, 5_000)] == [32, 32, 16, 8, 8, 1]
    waiting = [escalation(length=length) for length in [300] * 20 + [16] * 40]
    sizes = []
    while waiting:
        formed = divided(waiting, known)
        assert not formed.late
        assert formed.size * 2 ** (formed.length - 1).bit_length() <= 4_096
        sizes.append((formed.length, formed.size))
        waiting = formed.rest
    assert sorted(sizes) == [(16, 8), (16, 32), (300, 4), (300, 8), (300, 8)]


def test_an_item_with_more_tokens_than_a_call_may_have_goes_alone() -> None:
    known = gpu(max_batch_tokens=512, lengths=(512, 4_096))
    formed = divided([escalation(length=4_096), escalation(length=4_096)], known)
    assert (formed.size, len(formed.rest)) == (1, 1)


def test_a_gpus_calls_are_filled_as_far_as_the_first_deadline_allows() -> None:
    """Nearly all of a call's time is there without items: 25 ms for 32 items, 20 for one."""
    known = gpu(max_batch_tokens=16_384, lengths=(32,))
    formed = divided([escalation(length=32, left_ms=30.0) for _ in range(70)], known)
    assert formed.size == 32
    assert len(formed.late) == 38, "a second call would end after 50 ms"


@pytest.mark.parametrize("length", [64, 128, 256])
def test_a_length_that_has_not_run_is_expected_to_take_what_as_many_tokens_did(length: int) -> None:
    known = gpu(max_batch_tokens=65_536, lengths=(32,))
    for size in (1, 8, 32):
        as_many_items = size * length // 32
        expected_ms = GPU_MS + ITEM_MS * as_many_items + TOKEN_MS * size * length
        assert known.run_ms(size, length) == pytest.approx(expected_ms, rel=0.02)
    assert known.run_ms(32, 16) == 0.0, "nothing is said of shorter ones"


@pytest.mark.parametrize("length", [128, 256])
def test_a_length_that_has_not_run_is_not_batched_beyond_its_deadline(length: int) -> None:
    """By items alone, 32 of them would be expected after 25 ms, and all would be late."""
    known = gpu(max_batch_tokens=65_536, lengths=(32,))
    formed = divided([escalation(length=length, left_ms=30.0) for _ in range(32)], known)
    took_ms = GPU_MS + ITEM_MS * formed.size + TOKEN_MS * formed.size * length
    assert formed.batch
    assert took_ms <= 30.0
