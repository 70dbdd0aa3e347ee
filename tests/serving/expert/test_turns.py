"""Turns of threads: in order of arrival, one at a time, and passed on whatever happens."""

from __future__ import annotations

import threading
from contextlib import suppress

from serving.expert.turns import Turns

THREADS = 20


def test_waiters_get_their_turns_in_order_of_arrival() -> None:
    turns, order, inside = Turns(), list[int](), threading.Semaphore()

    def take(number: int) -> None:
        with turns:
            assert inside.acquire(blocking=False), "nobody else is inside"
            order.append(number)
            inside.release()

    threads = []
    with turns:
        for number in range(THREADS):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(turns._waiting) <= number:
                threading.Event().wait(0.001)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == [*range(THREADS)]


def test_as_many_as_may_have_one_at_a_time() -> None:
    turns, last = Turns(2), threading.Event()
    third = threading.Thread(target=lambda: turns.__enter__() or last.set())
    with turns:
        with turns:
            third.start()
            while not turns._waiting:
                threading.Event().wait(0.001)
            assert not last.is_set()
        third.join()
        assert last.is_set()


def test_an_error_inside_passes_the_turn_on() -> None:
    turns = Turns()
    with suppress(ValueError), turns:
        raise ValueError
    with turns:
        pass
