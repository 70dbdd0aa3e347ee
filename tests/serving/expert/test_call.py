"""One call to an expert: what the breaker and the trace learn of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.errors import StageDownError, StageRefusedError
from serving.expert.queue import Escalations
from serving.trace import CallSpan, begin_trace
from tests.serving.expert.fake import Expert, item, later, run


def test_failures_open_the_breaker_and_a_success_closes_it() -> None:
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


def test_calls_have_no_spans_without_a_listener() -> None:
    async def main() -> list[Any]:
        trace = begin_trace(None, share=1.0)
        await Escalations(Expert()).ask([item(1)], later(), trace)
        return trace.calls

    assert asyncio.run(main()) == []


@pytest.mark.parametrize(("error", "said"), [(None, None), (StageDownError("gone"), "down")])
def test_the_listener_gets_each_span_once_with_its_times_and_its_error(
    error: Exception | None, said: str | None
) -> None:
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
