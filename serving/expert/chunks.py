"""An escalation with more items than one call takes: several calls side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from serving.arrays import Array
from serving.expert.call import Escalated


async def ask_in_chunks(
    submit: Callable[[Sequence[Array]], asyncio.Future[Escalated]], items: Sequence[Array], chunk_size: int
) -> Escalated:
    """Submit `items` in chunks and put the answers together.

    The first chunk that fails cancels the others, and its error is raised.
    """
    asked: list[asyncio.Future[Escalated]] = []
    try:
        for start in range(0, len(items), chunk_size):
            asked.append(submit(items[start : start + chunk_size]))
        for refused in filter(asyncio.Future.done, asked):  # to make place for a later one
            refused.result()
        return _together(await asyncio.gather(*asked))
    finally:
        for future in asked:
            future.cancel()


def _together(chunks: Sequence[Escalated]) -> Escalated:
    """One answer of several; the chunks ran side by side, so the times are those of the slowest."""
    slowest = max(chunks, key=lambda chunk: chunk.queue_ms + chunk.hop_ms + chunk.expert_ms)
    logits = np.concatenate([chunk.logits for chunk in chunks])
    return Escalated(logits, slowest.queue_ms, slowest.hop_ms, slowest.expert_ms)
