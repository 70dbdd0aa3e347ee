"""Counts the turns that others get on the event loop while something runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


def counted(begin: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[Any, int, float]:
    """What the coroutine returns, how many turns others had meanwhile, and the longest time between two, in seconds."""

    async def main() -> tuple[Any, int, float]:
        turns, longest_s = 0, 0.0

        async def count() -> None:
            nonlocal turns, longest_s
            last_s = time.thread_time()
            while True:
                await asyncio.sleep(0)
                now_s = time.thread_time()
                turns, longest_s, last_s = turns + 1, max(longest_s, now_s - last_s), now_s

        counting = asyncio.create_task(count())
        await asyncio.sleep(0)
        value = await begin()
        counting.cancel()
        return value, turns, longest_s

    return asyncio.run(main())
