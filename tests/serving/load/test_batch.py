"""Which of the waiting escalations make up the next call. In virtual time."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from serving.load.batch import NextBatch, next_batch, sifted
from serving.load.forecast import Forecast, Waiting

NOW_S = 100.0


def forecast(took_ms: float = 10.0) -> Forecast:
    """Of an expert that takes 8 items, and for each 1 ms more than for the one before."""
    made = Forecast(max_batch_size=8, calls_in_flight=1)
    for size in (1, 2, 4, 8):
        made.observe(size, 1, took_ms + size, took_ms + size)
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
