"""The queue in front of an expert: who goes together, who goes at all, and what is learned of the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serving.errors import StageDownError, StageLateError, StageRefusedError
from serving.expert.queue import Escalated, Escalations
from serving.load.breaker import CircuitBreaker
from serving.load.forecast import CallTimes
from serving.settings import MAX_BATCH_SIZE, Settings
from serving.trace import CallSpan, begin_trace

CALLS_IN_FLIGHT = Settings().calls_in_flight


class Expert:
    """Says of an item its own first number; keeps the batches; waits for `gate`, or `delay_s`; may raise `error`."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.batches: list[list[int]] = []
        self.running = self.most_running = 0

    async def __call__(self, items: Sequence[Any], traceparent: str | None = None) -> tuple[Any, float]:
        self.batches.append([int(item[0]) for item in items])
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            if self.gate:
                await self.gate.wait()
            await asyncio.sleep(self.delay_s)
            if self.error:
                raise self.error
            return np.array([[float(item[0])] for item in items], dtype=np.float32), 0.1
        finally:
            self.running -= 1


def item(number: int, length: int = 1) -> Any:
    return np.full(length, number)


def run(scenario: Callable[[Expert, Escalations], Awaitable[Any]], **keys: Any) -> tuple[Any, Expert]:
    async def main() -> tuple[Any, Expert]:
        expert = Expert(**keys)
        return await scenario(expert, Escalations(expert)), expert

    return asyncio.run(main())


def later(seconds: float = 60.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_a_lone_escalation_goes_at_once_and_gets_its_own_answer() -> None:
    async def scenario(_: Expert, escalations: Escalations) -> Escalated:
        return await escalations.ask([item(7)], later())

    escalated, expert = run(scenario)
    assert escalated.logits.tolist() == [[7.0]]
    assert expert.batches == [[7]]
    assert escalated.expert_ms == pytest.approx(0.1)
    assert escalated.queue_ms >= 0
    assert escalated.hop_ms >= 0


def test_those_that_wait_go_together_in_calls_that_are_never_too_large_and_each_gets_its_own() -> None:
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


def test_who_hung_up_or_is_too_late_never_reaches_the_expert() -> None:
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


def test_when_a_part_of_a_long_list_comes_too_late_the_rest_is_not_asked_for_nobody() -> None:
    class Slow(CallTimes):
        def expected_ms(self, size: int, length: int) -> float:
            return 100.0

    async def main() -> list[list[int]]:
        expert = Expert()
        escalations = Escalations(expert, max_batch_size=1)
        escalations.times = Slow()
        with pytest.raises(StageLateError):  # two after one another are expected to take 200 ms
            await escalations.ask([item(1), item(2)], later(0.15))
        await asyncio.sleep(0.02)
        return expert.batches

    assert asyncio.run(main()) == []


def test_what_is_expected_to_be_late_is_told_at_once_and_tried_again_after_a_while() -> None:
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


def test_failures_open_the_breaker_and_a_try_closes_it() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> list[str]:
        seen = []
        expert.error = StageDownError("gone")
        for _ in range(5):
            with pytest.raises(StageDownError):
                await escalations.ask([item(1)], later())
            seen.append(escalations.breaker.state(asyncio.get_running_loop().time()))
        expert.error = None
        await asyncio.sleep(0.55)
        await escalations.ask([item(1)], later())
        seen.append(escalations.breaker.state(asyncio.get_running_loop().time()))
        return seen

    seen, expert = run(scenario)
    assert seen == ["closed", "closed", "open", "open", "open", "closed"]
    assert len(expert.batches) == 4, "while it was open nobody was sent"


def test_an_expert_that_is_busy_is_not_broken() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> str:
        expert.error = StageRefusedError("full")
        for _ in range(5):
            with pytest.raises(StageRefusedError):
                await escalations.ask([item(1)], later())
        return escalations.breaker.state(asyncio.get_running_loop().time())

    assert run(scenario)[0] == "closed"


def test_a_breaker_lets_one_try_through_and_waits_longer_each_time() -> None:
    breaker = CircuitBreaker(failures=2, cool_down_s=1, max_cool_down_s=3)
    assert breaker.begin(0)
    breaker.failed(0)
    assert breaker.begin(0)
    breaker.failed(0)
    assert breaker.state(0.9) == "open"
    assert not breaker.begin(0.9)
    assert breaker.state(1) == "half-open"
    assert breaker.begin(1)
    assert not breaker.begin(1), "one try at a time"
    breaker.abandoned()
    assert breaker.begin(1)
    breaker.failed(1)
    assert [breaker.state(t) for t in (2.9, 3)] == ["open", "half-open"]
    assert breaker.begin(3)
    breaker.failed(3)
    assert [breaker.state(t) for t in (5.9, 6)] == ["open", "half-open"], "never longer than the longest"
    assert breaker.begin(6)
    breaker.succeeded()
    breaker.failed(7)
    assert breaker.state(7) == "closed", "a success forgets"


def test_call_times_are_kept_by_shape() -> None:
    times = CallTimes()
    assert times.expected_ms(1, 16) == 0
    times.observe(1, 16, 2.0)
    times.observe(32, 16, 40.0)
    assert times.expected_ms(1, 9) == 2.0, "9 to 16 tokens are one step"
    assert times.expected_ms(32, 128) == 40.0, "as the nearest smaller one, until it is known"
    assert times.expected_ms(2, 16) == 2.0
    for _ in range(100):
        times.observe(1, 16, 4.0)
    assert times.expected_ms(1, 16) == pytest.approx(4.0, rel=1e-3)


def test_a_window_lets_company_come_and_a_full_batch_does_not_wait_for_it() -> None:
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


def test_a_lone_escalation_goes_when_its_window_is_over() -> None:
    async def scenario() -> tuple[list[list[int]], float]:
        expert = Expert()
        escalations = Escalations(expert, batch_window_ms=30)
        answer = await escalations.ask([np.array([7])], asyncio.get_running_loop().time() + 60)
        return expert.batches, answer.queue_ms

    batches, queue_ms = asyncio.run(scenario())
    assert batches == [[7]]
    assert queue_ms >= 29


def test_a_timer_that_comes_early_is_set_again() -> None:
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


def test_less_work_is_expected_to_take_no_longer() -> None:
    times = CallTimes()
    times.observe(1, 8, 120.0)  # the very first call, cold
    assert times.expected_ms(1, 8) == 120
    times.observe(1, 16, 5.0)
    assert times.expected_ms(1, 8) == 5
    times.observe(4, 8, 3.0)
    assert times.expected_ms(1, 8) == 3
    assert times.expected_ms(1, 16) == 5, "longer than the call that was fast"


def test_calls_are_not_traced_where_nobody_is_told() -> None:
    async def main() -> list[Any]:
        trace = begin_trace(None, share=1.0)
        await Escalations(Expert()).ask([item(1)], later(), trace)
        return trace.calls

    assert asyncio.run(main()) == []


@pytest.mark.parametrize(("error", "said"), [(None, None), (StageDownError("gone"), "down")])
def test_a_call_is_told_once_with_its_times_and_its_fault(error: Exception | None, said: str | None) -> None:
    async def main() -> list[CallSpan]:
        expert, told = Expert(), list[CallSpan]()
        expert.error = error
        escalations = Escalations(expert, tell=told.append)
        traces = [begin_trace(None, share=1.0), None, begin_trace(None, share=0.0)]
        asked = [escalations.ask([item(n)], later(), trace) for n, trace in enumerate(traces)]
        await asyncio.gather(*asked, return_exceptions=True)
        assert traces[0] is not None
        assert told == traces[0].calls
        assert told[0].home is traces[0]
        return told

    (span,) = asyncio.run(main())
    assert (span.size, len(span.traces), span.error) == (3, 2, said)
    assert span.end_s is not None
    assert span.end_s >= span.start_s
