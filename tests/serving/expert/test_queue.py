"""Which escalations go together in a call, and which never go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.errors import StageLateError
from serving.expert.call import Escalated
from serving.expert.queue import Escalations
from serving.settings import MAX_BATCH_SIZE
from tests.serving.expert.fake import CALLS_IN_FLIGHT, Expert, item, later, run


def test_a_lone_escalation_goes_at_once() -> None:
    async def scenario(_: Expert, escalations: Escalations) -> Escalated:
        return await escalations.ask([item(7)], later())

    escalated, expert = run(scenario)
    assert escalated.logits.tolist() == [[7.0]]
    assert expert.batches == [[7]]
    assert escalated.expert_ms == pytest.approx(0.1)
    assert escalated.queue_ms >= 0
    assert escalated.hop_ms >= 0


def test_waiting_escalations_share_calls_of_at_most_the_largest_batch_and_get_their_own_answers() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> list[Any]:
        sizes = [1, 3, 64, 2, 5] * 20
        numbers = iter(range(10_000))
        asked = [[item(next(numbers)) for _ in range(size)] for size in sizes]
        answers = await asyncio.gather(*(escalations.ask(items, later()) for items in asked))
        return [(items, answer) for items, answer in zip(asked, answers, strict=True)]

    pairs, expert = run(scenario, delay_s=0.001)
    for items, answer in pairs:
        assert answer.logits[:, 0].tolist() == [i[0] for i in items]
    assert max(map(len, expert.batches)) <= MAX_BATCH_SIZE
    assert len(expert.batches) < 100, "they went together"
    assert expert.most_running == CALLS_IN_FLIGHT


def test_texts_of_like_length_go_together() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> None:
        lengths = [10, 100, 12, 90, 15, 110]
        await asyncio.gather(*(escalations.ask([item(n, length=n)], later()) for n in lengths))

    _, expert = run(scenario)
    assert sorted(map(sorted, expert.batches)) == [[10, 12, 15], [90, 100, 110]]


def test_cancelled_and_late_escalations_never_reach_the_expert() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> list[Any]:
        expert.gate = asyncio.Event()
        running = []
        for number in range(CALLS_IN_FLIGHT):  # one after the other, so that each is a call of its own
            running.append(asyncio.ensure_future(escalations.ask([item(number)], later())))
            await asyncio.sleep(0.01)
        waiting = [
            asyncio.ensure_future(escalations.ask([item(n)], d))
            for n, d in ((10, later()), (11, later(0.05)), (12, later()))
        ]
        await asyncio.sleep(0.1)
        waiting[0].cancel()
        expert.gate.set()
        return await asyncio.gather(*running, *waiting, return_exceptions=True)

    answers, expert = run(scenario)
    assert isinstance(answers[-3], asyncio.CancelledError)
    assert isinstance(answers[-2], StageLateError)
    assert answers[-1].logits.tolist() == [[12.0]]
    sent = [number for batch in expert.batches for number in batch]
    assert 10 not in sent
    assert 11 not in sent


def test_an_escalation_expected_to_be_late_is_refused_at_once_until_one_is_tried_again() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> int:
        await escalations.ask([item(1)], later())
        refused = 0
        while True:
            try:
                await escalations.ask([item(2)], later(0.03))
                return refused
            except StageLateError:
                refused += 1
                assert refused < 200
                expert.delay_s = 0.0  # it is fast again, and nobody knows yet

    refused, expert = run(scenario, delay_s=0.06)
    assert refused > 5
    assert len(expert.batches) == 2
