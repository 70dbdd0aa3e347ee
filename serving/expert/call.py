"""One call to an expert: within a limit of time, behind a circuit breaker, with a span in its requests' traces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.arrays import Array, Logits
from serving.errors import StageDownError, StageError, StageRefusedError
from serving.load.breaker import CircuitBreaker
from serving.trace import CallSpan, Trace, begin_call

# No budget is longer than a second, so a slower expert is as good as down.
CALL_LIMIT_S = 1.0


class ExpertCall(Protocol):
    """Asks the expert's process once."""

    async def __call__(self, items: Sequence[Array], traceparent: str | None) -> tuple[Logits, float]:
        """Prepared items -> logits [items, labels], and the milliseconds that the expert's own session took.

        `traceparent`: the call's place in a trace (W3C), for the expert's own spans. Raises a StageError when the
        expert gives no answer.
        """


class ExpertClient(ExpertCall, Protocol):
    """Reaches the expert's process."""

    async def describe(self) -> Mapping[str, str]:
        """The variant that the expert runs and its execution provider, `asked` and `got`; else `error` says why not."""


@dataclass(frozen=True, slots=True)
class Escalated:
    """The expert's answer to one escalation: `logits` [items, labels], and where its time went.

    Milliseconds in the queue, on the way to the expert and back, and in the expert's session.
    """

    logits: Logits
    queue_ms: float
    hop_ms: float
    expert_ms: float


class GuardedCall:
    """Calls the expert unless the breaker is open, for `CALL_LIMIT_S` at most, and tells the breaker what became of it.

    `clock` gives seconds of a monotonic clock.
    """

    def __init__(self, call: ExpertCall, breaker: CircuitBreaker, spans: CallSpans, clock: Callable[[], float]) -> None:
        self._call, self._breaker, self._spans, self._clock = call, breaker, spans, clock

    async def __call__(self, items: Sequence[Array], traces: Sequence[Trace | None]) -> tuple[Logits, float]:
        """The same as an `ExpertCall`, for items of requests with these `traces`."""
        if not self._breaker.begin(self._clock()):
            raise StageDownError("the expert failed and is not asked for a while")
        span, error = self._spans.begin(traces, len(items)), "given up"
        try:
            answer = await self._judged(items, span.traceparent if span else None)
            error = ""
            return answer
        except StageError as failure:
            error = failure.reason
            raise
        finally:
            if span is not None:
                self._spans.end(span, error or None)

    async def _judged(self, items: Sequence[Array], traceparent: str | None) -> tuple[Logits, float]:
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                answer = await self._call(items, traceparent)
        except StageRefusedError:  # an expert that is busy is not broken
            self._breaker.abandoned()
            raise
        except StageError:
            self._breaker.failed(self._clock())
            raise
        except TimeoutError:
            self._breaker.failed(self._clock())
            raise StageDownError("the expert did not answer in time") from None
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return answer


class CallSpans:
    """Makes a span of each call and gives it to `tell` when the call has ended; makes none where `tell` is None."""

    def __init__(self, tell: Callable[[CallSpan], None] | None, clock: Callable[[], float]) -> None:
        self._tell, self._clock = tell, clock

    def begin(self, traces: Sequence[Trace | None], size: int) -> CallSpan | None:
        """The span of a call with `size` items that starts now, if it has one."""
        return begin_call(traces, size, self._clock()) if self._tell else None

    def end(self, span: CallSpan, error: str | None) -> None:
        """The call has ended; `error` says why it failed."""
        span.end_s, span.error = self._clock(), error
        if self._tell is not None:
            self._tell(span)
