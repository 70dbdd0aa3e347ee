"""One request works at a time, and the event loop looks at the others every few milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from serving.errors import OverloadedError
from serving.http.loop_turns import LoopTurns
from serving.load.admission import Admission
from serving.load.turns import SLICE_MS
from serving.watch.record import RequestRecord

LONG_S = 1.5e-3 * SLICE_MS


class Worker:
    """Requests that work for `work_s` on the event loop, and the order in which they did."""

    def __init__(self, work_s: float = 0.0) -> None:
        self.admission = Admission()
        self.turns = LoopTurns(self.admission)
        self.order: list[str] = []
        self._work_s = work_s

    async def work(self, name: str, budget_ms: float = 1000.0, arrived_s: float | None = None) -> None:
        record = RequestRecord("/work", name, arrived_s=arrived_s)
        record.was_read(budget_ms)
        try:
            await self.turns.take(record, "text", 1.0)
            self.order.append(name)
            time.sleep(self._work_s)
        finally:
            self.turns.release(record)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(limited())


def test_the_event_loop_looks_at_others_between_two_long_pieces_of_work() -> None:
    worker = Worker(LONG_S)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        looked: list[int] = []

        def look() -> None:
            looked.append(len(worker.order))
            if len(worker.order) < 5:
                loop.call_soon(look)

        loop.call_soon(look)
        await asyncio.gather(*(worker.work(name) for name in "abcde"))
        assert sorted(set(looked)) == [0, 1, 2, 3, 4, 5]

    run(scenario)
    assert "".join(worker.order) == "abcde"


def test_short_pieces_of_work_that_came_together_are_done_together() -> None:
    worker = Worker()

    async def scenario() -> None:
        await worker.work("first")  # so what a piece of work takes is known
        for _ in range(100):  # a busy machine may take the process away for longer than a slice
            worker.admission.turns.look()
            tasks = [asyncio.create_task(worker.work(name)) for name in "abc"]
            await asyncio.sleep(0)
            together = all(task.done() for task in tasks)
            await asyncio.gather(*tasks)
            if together:
                return
        pytest.fail("never together")

    run(scenario)
    assert worker.order[0] == "first"
    assert worker.order[-3:] == ["a", "b", "c"]


def test_a_free_loop_is_taken_without_waiting() -> None:
    worker = Worker()

    async def scenario() -> None:
        with pytest.raises(StopIteration):
            worker.work("a").send(None)

    run(scenario)
    assert worker.order == ["a"]


def test_who_comes_when_the_slice_is_over_works_after_the_next_look() -> None:
    worker = Worker(LONG_S)

    async def scenario() -> None:
        await worker.work("a")
        assert worker.admission.turns.idle
        task = asyncio.create_task(worker.work("b"))
        await asyncio.sleep(0)
        assert worker.order == ["a"]
        await task

    run(scenario)
    assert worker.order == ["a", "b"]


def test_one_who_cannot_be_on_time_is_refused_and_counted() -> None:
    worker = Worker(work_s=0.02)

    async def scenario() -> None:
        await worker.work("first")  # a piece of work is known to take 20 ms
        worker.admission.turns.look()
        now_s = time.monotonic()
        same = [asyncio.create_task(worker.work(name, 1000.0, now_s)) for name in ("a", "b", "c")]
        hasty = asyncio.create_task(worker.work("hasty", 30.0, now_s))
        await asyncio.gather(*same)
        with pytest.raises(OverloadedError, match="too little of its budget") as refusal:
            await hasty
        assert refusal.value.reason == "deadline"

    run(scenario)
    assert worker.order == ["first", "a", "b", "c"]
    assert worker.admission.shed["normal"] == 1


def test_one_who_waited_too_long_is_refused_and_the_next_one_works() -> None:
    worker = Worker()

    async def scenario() -> None:
        holder = RequestRecord("/work", "holder")
        holder.was_read(1000)
        await worker.turns.take(holder, "text", 1.0)
        waiting = asyncio.create_task(worker.work("hasty", 20.0))
        patient = asyncio.create_task(worker.work("patient", 1000.0))
        await asyncio.sleep(0)
        time.sleep(0.03)  # the loop is held
        worker.turns.release(holder)
        await patient
        with pytest.raises(OverloadedError):
            await waiting

    run(scenario)
    assert worker.order == ["patient"]


def test_one_who_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    worker = Worker(LONG_S)

    async def scenario() -> None:
        tasks = [asyncio.create_task(worker.work(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[1].cancelled()
        await worker.work("d")

    run(scenario)
    assert "".join(worker.order) == "acd"


def test_the_time_that_a_client_takes_to_send_is_not_the_services_own() -> None:
    worker = Worker()

    async def scenario() -> None:
        holder, slow, late = (RequestRecord("/work", name, arrived_s=time.monotonic() - 3.0) for name in "abc")
        for record, sending_s in ((holder, 0.0), (slow, 3.0), (late, 0.0)):
            record.was_read(1000.0, sending_s)
        await worker.turns.take(holder, "text", 1.0)
        waiting = asyncio.create_task(worker.turns.take(slow, "text", 1.0))
        with pytest.raises(OverloadedError):
            await worker.turns.take(late, "text", 1.0)
        worker.turns.release(holder)
        await waiting
        worker.turns.release(slow)

    run(scenario)


def test_all_connections_that_wait_are_accepted_before_the_next_request_works() -> None:
    """libuv accepts one connection a turn of the event loop."""
    worker = Worker(LONG_S)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        left = 5

        def accept() -> None:
            nonlocal left
            if left:
                left -= 1
                worker.turns.connection_made()
                loop.call_soon(accept)

        first, second = asyncio.create_task(worker.work("first")), asyncio.create_task(worker.work("second"))
        loop.call_soon(accept)
        await first
        assert worker.order == ["first"]
        await second
        assert left == 0

    run(scenario)


def test_connections_without_end_do_not_stop_the_work() -> None:
    worker = Worker()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def accept() -> None:
            worker.turns.connection_made()
            if len(worker.order) < 3:
                loop.call_soon(accept)

        loop.call_soon(accept)
        await asyncio.gather(*(worker.work(name) for name in "abc"))

    run(scenario)
    assert "".join(worker.order) == "abc"
