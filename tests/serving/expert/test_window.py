"""How long escalations wait for others."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from serving.errors import StageLateError
from serving.expert.queue import Escalations
from tests.serving.expert.fake import Expert


def test_escalations_of_one_window_go_together_and_a_full_batch_does_not_wait() -> None:
    async def scenario() -> tuple[list[list[int]], float]:
        expert = Expert()
        escalations = Escalations(expert, max_batch_size=4, batch_window_ms=10_000)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        asked = []
        for number in range(4):
            asked.append(asyncio.create_task(escalations.ask([np.array([number])], begin + 60)))
            await asyncio.sleep(0.01)
        await asyncio.gather(*asked)
        return expert.batches, loop.time() - begin

    batches, took_s = asyncio.run(scenario())
    assert batches == [[0, 1, 2, 3]]
    assert took_s < 10, "the window was not waited for"


def test_a_lone_escalation_goes_when_its_window_closes() -> None:
    async def scenario() -> tuple[list[list[int]], float]:
        expert = Expert()
        escalations = Escalations(expert, batch_window_ms=30)
        answer = await escalations.ask([np.array([7])], asyncio.get_running_loop().time() + 60)
        return expert.batches, answer.queue_ms

    batches, queue_ms = asyncio.run(scenario())
    assert batches == [[7]]
    assert queue_ms >= 29


def test_a_timer_that_fires_early_is_set_again() -> None:
    async def scenario() -> list[list[int]]:
        expert = Expert()
        # An event loop counts its timers in whole milliseconds, of a time that it read a while ago.
        begin = time.monotonic()
        escalations = Escalations(expert, batch_window_ms=30, clock=lambda: begin + 0.8 * (time.monotonic() - begin))
        async with asyncio.timeout(30):
            await escalations.ask([np.array([7])], begin + 60)
            await escalations.ask([np.array([8])], begin + 60)
        return expert.batches

    assert asyncio.run(scenario()) == [[7], [8]]


def test_a_window_counts_against_the_deadline() -> None:
    async def scenario() -> None:
        escalations = Escalations(Expert(), batch_window_ms=100)
        with pytest.raises(StageLateError):
            await escalations.ask([np.array([7])], asyncio.get_running_loop().time() + 0.05)

    asyncio.run(scenario())
