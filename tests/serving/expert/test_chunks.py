"""Escalations that are larger than one call."""

from __future__ import annotations

import asyncio

import pytest

from serving.errors import StageLateError
from serving.expert.queue import Escalations
from tests.serving.expert.fake import Expert, item, later


def test_when_one_chunk_is_refused_the_others_are_not_sent() -> None:
    async def main() -> list[list[int]]:
        expert = Expert()
        escalations = Escalations(expert, max_batch_size=1)
        escalations.forecast.observe(1, 1, 100.0, 100.0)
        with pytest.raises(StageLateError):  # two after one another are expected to take 200 ms
            await escalations.ask([item(1), item(2)], later(0.15))
        await asyncio.sleep(0.02)
        return expert.batches

    assert asyncio.run(main()) == []
