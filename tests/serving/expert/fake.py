"""An expert in this process, for tests of what stands in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from serving.expert.call import Ran
from serving.expert.queue import Escalations
from serving.settings import Settings

CALLS_IN_FLIGHT = Settings().calls_in_flight


class Expert:
    """An `ExpertCall` whose logit for an item is the item's first number.

    Keeps the batches that it gets, waits for `gate` and `delay_s`, and raises `error` if there is one.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.batches: list[list[int]] = []
        self.running = self.most_running = 0

    async def __call__(self, items: Sequence[Any], *_: Any) -> Ran:
        self.batches.append([int(item.flat[0]) for item in items])
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            if self.gate:
                await self.gate.wait()
            await asyncio.sleep(self.delay_s)
            if self.error:
                raise self.error
            return Ran(np.array([[float(item.flat[0])] for item in items], dtype=np.float32), 0.1)
        finally:
            self.running -= 1


def item(number: int, length: int = 1) -> Any:
    return np.full(length, number)


def later(seconds: float = 60.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def run(scenario: Callable[[Expert, Escalations], Awaitable[Any]], **keys: Any) -> tuple[Any, Expert]:
    """The result of `scenario` with an `Expert` of these `keys` and a queue in front of it, and that expert."""

    async def main() -> tuple[Any, Expert]:
        expert = Expert(**keys)
        return await scenario(expert, Escalations(expert)), expert

    return asyncio.run(main())
