"""Escalations that are larger than one call."""

from __future__ import annotations

import asyncio

import pytest

from serving.errors import StageLateError
from serving.expert.queue import Escalations
from serving.load.forecast import Forecast
from tests.serving.expert.fake import CALLS_IN_FLIGHT, Expert, item, later


def test_when_one_chunk_is_refused_the_others_are_not_sent() -> None:
    class Slow(Forecast):
        def expected_ms(self, size: int, length: int) -> float:
            return 100.0

    async def main() -> list[list[int]]:
        expert = Expert()
        escalations = Escalations(expert, max_batch_size=1)
        escalations.forecast = Slow(max_batch_size=1, calls_in_flight=CALLS_IN_FLIGHT)
        with pytest.raises(StageLateError):  # two after one another are expected to take 200 ms
            await escalations.ask([item(1), item(2)], later(0.15))
        await asyncio.sleep(0.02)
        return expert.batches

    assert asyncio.run(main()) == []
