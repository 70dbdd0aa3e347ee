"""The thread of an expert: calls in order, and none that nobody waits for."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from serving.errors import StageLateError
from serving.expert.worker import Call, Worker


class Held:
    """Runs calls when `gate` opens, and keeps the numbers of those that it ran."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.ran: list[int] = []

    def __call__(self, call: Call[int]) -> int:
        assert self.gate.wait(30)
        number = int(call.items[0][0])
        self.ran.append(number)
        if number < 0:
            raise RuntimeError("out of memory")
        return 2 * number


def call(number: int, until_s: float = math.inf) -> Call[int]:
    return Call([np.array([number])], None, until_s)


def play(scenario: Callable[[Worker[int], Held], Awaitable[Any]]) -> tuple[Any, Held]:
    async def main() -> tuple[Any, Held]:
        held = Held()
        return await scenario(Worker(held), held), held

    return asyncio.run(main())


def test_calls_run_in_order_and_get_their_own_answers() -> None:
    async def scenario(worker: Worker[int], held: Held) -> list[int]:
        answers = [worker.submit(call(number)) for number in range(20)]
        held.gate.set()
        return await asyncio.gather(*answers)

    answers, held = play(scenario)
    assert answers == [2 * number for number in range(20)]
    assert held.ran == list(range(20))


def test_calls_that_are_given_up_or_too_late_are_not_run() -> None:
    async def scenario(worker: Worker[int], held: Held) -> list[Any]:
        calls = [call(0), call(1), call(2, time.monotonic() + 0.01), call(3)]
        answers = [worker.submit(each) for each in calls]
        calls[1].give_up()
        await asyncio.sleep(0.03)
        held.gate.set()
        return await asyncio.gather(*answers, return_exceptions=True)

    answers, held = play(scenario)
    assert (answers[0], answers[3]) == (0, 6)
    assert all(isinstance(answer, StageLateError) for answer in answers[1:3])
    assert held.ran == [0, 3]


def test_a_call_that_fails_tells_its_caller_and_the_next_one_runs() -> None:
    async def scenario(worker: Worker[int], held: Held) -> int:
        held.gate.set()
        with pytest.raises(RuntimeError, match="out of memory"):
            await worker.submit(call(-1))
        return await worker.submit(call(4))

    assert play(scenario)[0] == 8


def test_several_threads_run_as_many_calls_at_once() -> None:
    together = threading.Barrier(2)

    def meeting(call: Call[int]) -> int:
        together.wait(60)  # each call ends only beside another one
        return int(call.items[0][0])

    async def main() -> list[int]:
        worker: Worker[int] = Worker(meeting, 2)
        return await asyncio.gather(*(worker.submit(call(number)) for number in range(4)))

    assert asyncio.run(main()) == [0, 1, 2, 3]
