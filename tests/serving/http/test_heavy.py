"""Heavy work in threads: it waits for its turn, and is dropped in time."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from serving.errors import OverloadedError
from serving.http.heavy import HeavyRunner
from serving.load.heavy import PLACES, HeavyWork
from serving.load.memory import MemoryLimit


def work(client: str = "a", deadline_s: float = 60.0, size_bytes: int = 1) -> HeavyWork:
    """A small piece whose deadline comes so many seconds from now."""
    return HeavyWork(
        client=client, kind="text", units=1, size_bytes=size_bytes, deadline_s=time.monotonic() + deadline_s
    )


async def never() -> None:
    await asyncio.Event().wait()


class Busy:
    """Work in every place, until `end` is called."""

    def __init__(self, runner: HeavyRunner) -> None:
        self._ended = threading.Event()
        self._tasks = [asyncio.create_task(runner.run(work("busy"), self._ended.wait, never)) for _ in range(PLACES)]

    async def begun(self) -> Busy:
        await asyncio.sleep(0)
        return self

    async def end(self) -> None:
        self._ended.set()
        await asyncio.gather(*self._tasks)


def run(scenario: Any, memory: int = 100) -> None:
    async def main() -> None:
        await scenario(HeavyRunner(MemoryLimit(memory)))

    asyncio.run(main())


def test_work_runs_in_a_thread_and_its_result_comes_back() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        assert await runner.run(work(), threading.current_thread, never) is not threading.main_thread()

    run(scenario)


def test_an_error_comes_back_and_frees_the_place() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        for _ in range(PLACES + 1):
            with pytest.raises(ZeroDivisionError):
                await runner.run(work(size_bytes=100), lambda: 1 // 0, never)

    run(scenario)


def test_work_waits_for_a_place() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        busy = await Busy(runner).begun()
        waiting = asyncio.create_task(runner.run(work(), lambda: "done", never))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await busy.end()
        assert await waiting == "done"

    run(scenario)


def test_work_that_waits_is_dropped_before_it_starts_when_it_can_no_longer_be_on_time() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        busy = await Busy(runner).begun()
        started: list[str] = []
        with pytest.raises(OverloadedError, match="would be late") as refused:
            await runner.run(work(deadline_s=0.02), lambda: started.append("late"), never)
        assert refused.value.reason == "deadline"
        await busy.end()
        assert started == []

    run(scenario)


def test_work_of_a_client_that_hangs_up_is_dropped() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        busy = await Busy(runner).begun()
        hung_up = asyncio.Event()
        waiting = asyncio.create_task(runner.run(work(), lambda: "done", hung_up.wait))
        await asyncio.sleep(0)
        hung_up.set()
        with pytest.raises(ClientDisconnect):
            await waiting
        await busy.end()

    run(scenario)


def test_work_that_is_cancelled_leaves_its_place() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        busy = await Busy(runner).begun()
        waiting = [asyncio.create_task(runner.run(work(), lambda: "done", never)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        await busy.end()
        assert await waiting[1] == "done"

    run(scenario)


def test_work_that_exceeds_all_memory_is_refused() -> None:
    async def scenario(runner: HeavyRunner) -> None:
        with pytest.raises(OverloadedError, match="memory for uploads") as refused:
            await runner.run(work(size_bytes=101), lambda: None, never)
        assert refused.value.reason == "memory"

    run(scenario)


def test_work_that_waits_for_memory_starts_when_it_is_freed() -> None:
    memory = MemoryLimit(100)

    async def main() -> None:
        runner = HeavyRunner(memory)
        assert memory.take_body(50)
        waiting = asyncio.create_task(runner.run(work(size_bytes=80), lambda: "done", never))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        memory.give_body(50)
        runner.start_next()
        assert await waiting == "done"

    asyncio.run(main())
