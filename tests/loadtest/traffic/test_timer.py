"""The generator's timer: never early, by the kernel's clock and by the loop's own, whatever loop it is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from loadtest.traffic import timer
from loadtest.traffic.timer import Timer

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("has_timerfd", [True, False])
def test_no_moment_comes_early(run: Run, has_timerfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer, "HAS_TIMERFD", has_timerfd)

    async def wait() -> list[float]:
        start, late_s = time.monotonic() + 0.02, []
        with Timer() as kept:
            for after_s in (0.0, 0.0001, 0.0003, 0.0303, 0.0303, 0.01, 0.05):  # one of them over already
                await kept.until(start + after_s)
                late_s.append(time.monotonic() - start - after_s)
        return late_s

    assert min(run(wait())) >= 0


def test_it_keeps_no_file_open_and_other_work_goes_on_meanwhile() -> None:
    async def wait() -> int:
        turns = 0

        async def work() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        with Timer() as kept:
            task = asyncio.create_task(work())
            await kept.until(time.monotonic() + 0.05)
            task.cancel()
        return turns

    uvloop.run(asyncio.sleep(0))  # the first loop of a process leaves two files open for all others
    before = len(os.listdir("/proc/self/fd"))
    assert uvloop.run(wait()) > 1
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_wait_that_is_cancelled_leaves_a_timer_that_can_be_used() -> None:
    async def wait() -> float:
        with Timer() as kept:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await kept.until(time.monotonic() + 60)
            moment = time.monotonic() + 0.02
            await kept.until(moment)
            return time.monotonic() - moment

    assert uvloop.run(wait()) >= 0
