"""Warms up the experts of all cascades while the service starts, and gives up on those that do not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

# Longer than an expert takes to start, and a third of what deploy/kubernetes grants a pod.
PATIENCE_S = 60.0
RETRY_S = 0.2

logger = logging.getLogger("sieve")

WarmUp = Callable[[], Awaitable[bool]]
"""Calls an expert with every shape; False when it does not answer yet."""


async def warm_up_experts(
    experts: Mapping[str, WarmUp], *, patience_s: float = PATIENCE_S, retry_s: float = RETRY_S
) -> None:
    """Warm up each expert, all at once; `experts` is keyed by what the log calls them.

    An expert that does not answer is tried again until it does. After `patience_s` those that still do not are given
    up, with a line in the log: their screens answer alone until they do. What a warm-up raises is raised here.
    """
    tasks = {asyncio.create_task(_until_warm(warm_up, retry_s)): name for name, warm_up in experts.items()}
    try:
        done, late = await asyncio.wait(tasks, timeout=patience_s, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        for task in late:
            logger.warning(
                "the expert of %s has not answered every kind of call within %.0f s; "
                "the service is ready without it, and the screen answers alone until the expert does",
                tasks[task],
                patience_s,
            )
    finally:
        for task in tasks:
            task.cancel()


async def _until_warm(warm_up: WarmUp, retry_s: float) -> None:
    while not await warm_up():
        await asyncio.sleep(retry_s)
