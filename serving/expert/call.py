"""One call to an expert: while anybody waits, behind a circuit breaker, with a span in its requests' traces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from serving.arrays import Array, Logits
from serving.errors import StageError, StageLateError, StageRefusedError
from serving.load.breaker import CircuitBreaker, Token
from serving.trace import CallSpan, Trace, begin_call

# An answer that comes a little late still tells how long the call takes. Nobody waits for a later one.
GRACE_S = 0.05


class Ran(NamedTuple):
    """The expert's reply to one call: `logits` [items, labels], and the milliseconds of its own session.

    `waited_ms`: how long the call waited in the expert for those before it; None if the expert does not say.
    """

    logits: Logits
    expert_ms: float
    waited_ms: float | None = 0.0


class ExpertCall(Protocol):
    """Asks the expert's process once."""

    async def __call__(self, items: Sequence[Array], traceparent: str | None, left_ms: float) -> Ran:
        """Prepared items -> the expert's reply.

        `traceparent`: the call's place in a trace (W3C), for the expert's own spans. `left_ms`: how long anybody waits
        for the answer, so that the expert need not run a call that is too late. Raises a StageError when the expert
        gives no answer.
        """


class ExpertClient(ExpertCall, Protocol):
    """Reaches the expert's process."""

    async def close(self) -> None:
        """Close the connections that are idle."""

    async def describe(self) -> Mapping[str, str]:
        """The variant that the expert runs and its execution provider, `asked` and `got`; else `error` says why not."""


@dataclass(slots=True)
class Asked:
    """What became of an escalation so far. `sent`: whether a call with items of it has begun."""

    sent: bool = False


@dataclass(frozen=True, slots=True)
class Escalated:
    """The expert's answer to one escalation: `logits` [items, labels], and where its time went.

    Milliseconds in the queue, which hold the wait in the expert for the call before, on the way there and back, and in
    the expert's session. `joined`: the places of the items that an equal one was asked for already.
    """

    logits: Logits
    queue_ms: float
    hop_ms: float
    expert_ms: float
    joined: frozenset[int] = frozenset()


class GuardedCall:
    """Calls the expert until nobody waits for the answer any more, and tells the breaker what became of it.

    `clock` gives seconds of a monotonic clock.
    """

    def __init__(self, call: ExpertCall, breaker: CircuitBreaker, spans: CallSpans, clock: Callable[[], float]) -> None:
        self._call, self._breaker, self._spans, self._clock = call, breaker, spans, clock

    async def __call__(
        self, token: Token, items: Sequence[Array], traces: Sequence[Trace | None], deadline_s: float
    ) -> Ran:
        """The same as an `ExpertCall`, for items of requests with these `traces`.

        `token`: the breaker's for this call. Raises StageLateError, and ends the call, `GRACE_S` after `deadline_s`,
        the last deadline of the items.
        """
        span, error = self._spans.begin(traces, len(items)), "given up"
        try:
            answer = await self._judged(token, items, span.traceparent if span else None, deadline_s)
            error = ""
            return answer
        except StageError as failure:
            error = failure.reason
            raise
        finally:
            if span is not None:
                self._spans.end(span, error or None)

    async def _judged(self, token: Token, items: Sequence[Array], traceparent: str | None, deadline_s: float) -> Ran:
        left_s = deadline_s - self._clock()
        try:
            async with asyncio.timeout(left_s + GRACE_S):
                answer = await self._call(items, traceparent, left_s * 1e3)
        except StageRefusedError:  # an expert that is busy is not broken
            self._breaker.abandoned(token)
            raise
        except StageError:
            self._breaker.failed(token, self._clock())
            raise
        except TimeoutError:
            self._breaker.failed(token, self._clock())
            raise StageLateError("the expert did not answer before the last deadline of the call") from None
        except BaseException:
            self._breaker.abandoned(token)
            raise
        self._breaker.succeeded(token)
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
