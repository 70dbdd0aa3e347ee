"""Escalations on their way to one expert: those that wait go together in one call, and dead ones never go."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import StageDownError, StageError, StageLateError, StageRefusedError
from serving.load.breaker import CircuitBreaker
from serving.load.forecast import CallTimes
from serving.settings import MAX_BATCH_SIZE
from serving.trace import CallSpan, Trace, begin_call

# No budget is longer: an expert that takes more is as good as down.
CALL_LIMIT_S = 1.0


class ExpertCall(Protocol):
    """One call to the expert's process. Raises a StageError when it gives no answer."""

    async def __call__(self, items: Sequence[Array], traceparent: str | None) -> tuple[Logits, float]:
        """Prepared items -> logits [items, labels], and the milliseconds that the expert's own session took.

        `traceparent`: the call's place in a trace (W3C), for the expert's own spans.
        """


@dataclass(frozen=True, slots=True)
class Escalated:
    """What the expert says, `logits` [items, labels], and where the time went: waiting, on the way, in the expert."""

    logits: Logits
    queue_ms: float
    hop_ms: float
    expert_ms: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    items: Sequence[Array]
    length: int
    deadline_s: float
    since_s: float
    answer: asyncio.Future[Escalated]
    trace: Trace | None


class Escalations:
    """The queue in front of one expert. One event loop uses it.

    A lone escalation waits for company only as long as `batch_window_ms` says. While one call runs in the expert others
    (`calls_in_flight` in all) are on their way, so that the expert does not wait for the hop.

    An escalation is refused at once when its expected end lies behind its deadline or the breaker is open, and leaves
    the queue when its caller is gone or its deadline can no longer be kept. Texts of like length go together, so that
    short ones do not pay for the padding of long ones.
    """

    def __init__(
        self,
        call: ExpertCall,
        *,
        max_batch_size: int = MAX_BATCH_SIZE,
        batch_window_ms: float = 0.0,
        calls_in_flight: int = 2,
        breaker: CircuitBreaker | None = None,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[CallSpan], None] | None = None,
    ) -> None:
        self._tell = tell
        self._call, self._most, self._clock = call, max_batch_size, clock
        self._window_s, self._calls = batch_window_ms / 1e3, calls_in_flight
        self.breaker = breaker or CircuitBreaker()
        self.times = CallTimes()
        self._waiting: deque[_Waiting] = deque()
        self._ends_s: dict[asyncio.Task[None], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Escalations that are in the queue now."""
        return len(self._waiting)

    async def ask(self, items: Sequence[Array], deadline_s: float, trace: Trace | None = None) -> Escalated:
        """Logits of `items` (any number), which are of no use after `deadline_s` of the clock.

        Raises StageLateError when that cannot be kept, and what the call raises. Cancelling takes the items out of
        the queue.
        """
        return await self.submit(items, deadline_s, trace)

    def submit(
        self, items: Sequence[Array], deadline_s: float, trace: Trace | None = None
    ) -> asyncio.Future[Escalated]:
        """The same as a future. A task of its own would cost two turns of the event loop more, each behind all that is
        ready then. Raises at once when the expert is not asked at all.
        """
        if len(items) > self._most:
            return asyncio.ensure_future(self._in_chunks(items, deadline_s, trace))
        now = self._clock()
        if self.breaker.would_refuse(now):
            raise StageDownError("the expert failed several times in a row and is not asked for a while")
        length = max(len(item) for item in items)
        if now + self._window_s + self._expected_s(now, len(items), length) > deadline_s:
            self.times.not_asked(len(items), length)
            raise StageLateError("the expert is expected to take longer than is left")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(items, length, deadline_s, now, loop.create_future(), trace)
        self._waiting.append(waiting)
        # Not at once: what arrives in the same turn of the event loop goes along.
        loop.call_soon(self._send_waiting)
        return waiting.answer

    async def _in_chunks(self, items: Sequence[Array], deadline_s: float, trace: Trace | None) -> Escalated:
        asked: list[asyncio.Future[Escalated]] = []
        try:
            for start in range(0, len(items), self._most):
                asked.append(self.submit(items[start : start + self._most], deadline_s, trace))
            return _together(await asyncio.gather(*asked))
        finally:
            # One that fails makes the others useless.
            for future in asked:
                future.cancel()

    def _expected_s(self, now: float, size: int, length: int) -> float:
        """Until an answer to a new escalation: a call must end, those ahead must go, and then its own call."""
        free_s = 0.0 if len(self._ends_s) < self._calls else max(0.0, min(self._ends_s.values()) - now)
        ahead = sum(len(w.items) for w in self._waiting)
        calls_ahead = ahead // self._most
        ahead_ms = calls_ahead * self.times.expected_ms(self._most, length)
        own = min(self._most, ahead % self._most + size)
        return free_s + (ahead_ms + self.times.expected_ms(own, length)) / 1e3

    def _send_waiting(self) -> None:
        while self._waiting and len(self._ends_s) < self._calls:
            if (left_s := self._window_left_s()) > 0:
                return self._send_later(left_s)
            batch, length = self._next_batch()
            if not batch:
                continue
            size = sum(len(w.items) for w in batch)
            task = asyncio.get_running_loop().create_task(self._send(batch, size, length))
            self._ends_s[task] = self._clock() + self.times.expected_ms(size, length) / 1e3
            task.add_done_callback(self._ended)
        return None

    def _window_left_s(self) -> float:
        """How long company may still come: until the batch is full, or the oldest has waited its time."""
        if not self._window_s or sum(len(w.items) for w in self._waiting) >= self._most:
            return 0.0
        return self._waiting[0].since_s + self._window_s - self._clock()

    def _send_later(self, left_s: float) -> None:
        """Look again when the window closes; a timer may come early, and then it is set again."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._window_closes)

    def _window_closes(self) -> None:
        self._timer = None
        self._send_waiting()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._ends_s[task]
        self._send_waiting()

    def _next_batch(self) -> tuple[list[_Waiting], int]:
        """The oldest that is still of use, and those of like length behind it, as many as fit into one call and do not
        make it too long for any of them.
        """
        now, batch, length, size, deadline_s = self._clock(), list[_Waiting](), 0, 0, math.inf
        kept: deque[_Waiting] = deque()
        for waiting in self._waiting:
            if waiting.answer.done():
                continue
            if now + self.times.expected_ms(len(waiting.items), waiting.length) / 1e3 > waiting.deadline_s:
                waiting.answer.set_exception(StageLateError("the expert is expected to take longer than is left"))
                continue
            larger, longer = size + len(waiting.items), max(length, waiting.length)
            earliest_s = min(deadline_s, waiting.deadline_s)
            fits = larger <= self._most and now + self.times.expected_ms(larger, longer) / 1e3 <= earliest_s
            if not batch or (fits and _like(waiting.length, batch[0].length)):
                batch.append(waiting)
                size, length, deadline_s = larger, longer, earliest_s
            else:
                kept.append(waiting)
        self._waiting = kept
        return batch, length

    async def _send(self, batch: list[_Waiting], size: int, length: int) -> None:
        begin = self._clock()
        if not self.breaker.begin(begin):
            return _fail(batch, StageDownError("the expert failed and is not asked for a while"))
        said, fault = False, "given up"
        traced = begin_call([w.trace for w in batch], size, begin) if self._tell else None
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                items = [item for w in batch for item in w.items]
                logits, expert_ms = await self._call(items, traced.traceparent if traced else None)
            self.breaker.succeeded()
            said, fault = True, ""
        except StageRefusedError as error:  # busy is not broken
            fault = error.reason
            return _fail(batch, error)
        except (StageError, TimeoutError) as error:
            self.breaker.failed(self._clock())
            said = True
            down = error if isinstance(error, StageError) else StageDownError("the expert did not answer in time")
            fault = down.reason
            return _fail(batch, down)
        finally:
            if not said:
                self.breaker.abandoned()
                _fail(batch, StageDownError("the call to the expert was given up"))
            if traced and self._tell:
                traced.end_s, traced.error = self._clock(), fault or None
                self._tell(traced)
        took_ms = (self._clock() - begin) * 1e3
        self.times.observe(size, length, took_ms)
        start = 0
        for waiting in batch:
            rows = logits[start : start + len(waiting.items)]
            start += len(waiting.items)
            if not waiting.answer.done():
                queue_ms = (begin - waiting.since_s) * 1e3
                waiting.answer.set_result(Escalated(rows, queue_ms, max(0.0, took_ms - expert_ms), expert_ms))
        return None


def _like(one: int, other: int) -> bool:
    """Whether padding one to the other costs little: the same power of two."""
    return (one - 1).bit_length() == (other - 1).bit_length()


def _fail(batch: list[_Waiting], error: StageError) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _together(parts: Sequence[Escalated]) -> Escalated:
    """The parts of one escalation that took several calls; they ran side by side, so the slowest counts."""
    slowest = max(parts, key=lambda part: part.queue_ms + part.hop_ms + part.expert_ms)
    logits = np.concatenate([part.logits for part in parts])
    return Escalated(logits, slowest.queue_ms, slowest.hop_ms, slowest.expert_ms)
