"""The queue in front of one expert: escalations that wait go together in one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from serving.arrays import Array, Logits
from serving.errors import StageDownError, StageError, StageLateError
from serving.expert.call import CallSpans, Escalated, ExpertCall, GuardedCall
from serving.expert.chunks import ask_in_chunks
from serving.expert.window import BatchWindow
from serving.load.batch import NextBatch, next_batch
from serving.load.breaker import CircuitBreaker
from serving.load.forecast import Forecast, Waiting
from serving.settings import MAX_BATCH_SIZE
from serving.trace import CallSpan, Trace


@dataclass(frozen=True, slots=True, eq=False)
class _Escalation(Waiting):
    items: Sequence[Array]
    since_s: float
    answer: asyncio.Future[Escalated]
    trace: Trace | None


class Escalations:
    """The queue in front of one expert. One event loop uses it.

    An escalation goes at once while fewer than `calls_in_flight` calls run, or after `batch_window_ms`. Two calls in
    flight keep the expert busy: one runs in it while the other is on its way.

    An escalation is refused at once when it is expected to end after its deadline or the breaker is open. It leaves
    the queue when its caller cancels it or when its deadline can no longer be kept. `serving.load.batch` says which
    ones go together.

    `tell` is given the span of each call when it ends; without it calls have no spans. `clock` gives seconds of a
    monotonic clock.
    """

    def __init__(
        self,
        call: ExpertCall,
        *,
        max_batch_size: int = MAX_BATCH_SIZE,
        batch_window_ms: float = 0.0,
        calls_in_flight: int = 2,
        tell: Callable[[CallSpan], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        window_s = batch_window_ms / 1e3
        self.breaker = CircuitBreaker()
        self.forecast = Forecast(max_batch_size=max_batch_size, calls_in_flight=calls_in_flight, window_s=window_s)
        self._call = GuardedCall(call, self.breaker, CallSpans(tell, clock), clock)
        self._window = BatchWindow(window_s, clock, self._send_waiting)
        self._max_batch_size, self._calls_in_flight, self._clock = max_batch_size, calls_in_flight, clock
        self._waiting: list[_Escalation] = []
        self._ends_s: dict[asyncio.Task[None], float] = {}

    @property
    def waiting(self) -> int:
        """How many escalations are in the queue."""
        return len(self._waiting)

    async def ask(self, items: Sequence[Array], deadline_s: float, trace: Trace | None = None) -> Escalated:
        """The expert's answer to `items` (any number), which is of no use after `deadline_s` of the clock.

        Raises StageLateError when the deadline cannot be kept, and the StageError of the call. Cancelling takes the
        items out of the queue.
        """
        return await self.submit(items, deadline_s, trace)

    def submit(
        self, items: Sequence[Array], deadline_s: float, trace: Trace | None = None
    ) -> asyncio.Future[Escalated]:
        """The same as a future, which saves a task and two turns of the event loop. A refusal is raised at once."""
        size = len(items)
        if size > self._max_batch_size:
            submit = partial(self.submit, deadline_s=deadline_s, trace=trace)
            return asyncio.ensure_future(ask_in_chunks(submit, items, self._max_batch_size))
        now_s = self._clock()
        if self.breaker.would_refuse(now_s):
            raise StageDownError("the expert failed several times in a row and is not asked for a while")
        length = max(len(item) for item in items)
        if self.forecast.expected_end_s(now_s, size, length, self._waiting, self._ends_s.values()) > deadline_s:
            self.forecast.refused(size, length)
            raise _late()
        loop = asyncio.get_running_loop()
        escalation = _Escalation(size, length, deadline_s, items, now_s, loop.create_future(), trace)
        self._waiting.append(escalation)
        # Not at once: escalations that arrive in the same turn of the event loop go along.
        loop.call_soon(self._send_waiting)
        return escalation.answer

    def _send_waiting(self) -> None:
        while self._waiting and len(self._ends_s) < self._calls_in_flight:
            full = sum(waiting.size for waiting in self._waiting) >= self._max_batch_size
            if not full and self._window.hold(self._waiting[0].since_s):
                return
            wanted = [waiting for waiting in self._waiting if not waiting.answer.done()]
            formed = next_batch(wanted, self._clock(), self.forecast)
            self._waiting = formed.rest
            _fail(formed.late, _late())
            if formed.batch:
                self._start(formed)

    def _start(self, formed: NextBatch[_Escalation]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(formed))
        self._ends_s[task] = self._clock() + self.forecast.expected_ms(formed.size, formed.length) / 1e3
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._ends_s[task]
        self._send_waiting()

    async def _send(self, formed: NextBatch[_Escalation]) -> None:
        begin_s = self._clock()
        items = [item for escalation in formed.batch for item in escalation.items]
        try:
            logits, expert_ms = await self._call(items, [escalation.trace for escalation in formed.batch])
        except StageError as error:
            return _fail(formed.batch, error)
        except BaseException:
            _fail(formed.batch, StageDownError("the call to the expert was given up"))
            raise
        took_ms = (self._clock() - begin_s) * 1e3
        self.forecast.observe(formed.size, formed.length, took_ms)
        _hand_out(formed.batch, logits, begin_s, took_ms, expert_ms)
        return None


def _late() -> StageLateError:
    return StageLateError("the expert is expected to take longer than is left")


def _hand_out(batch: Iterable[_Escalation], logits: Logits, begin_s: float, took_ms: float, expert_ms: float) -> None:
    """Give every escalation its rows of `logits` [items of all, labels]."""
    start = 0
    for escalation in batch:
        rows = logits[start : start + escalation.size]
        start += escalation.size
        if not escalation.answer.done():
            queue_ms = (begin_s - escalation.since_s) * 1e3
            escalation.answer.set_result(Escalated(rows, queue_ms, max(0.0, took_ms - expert_ms), expert_ms))


def _fail(escalations: Iterable[_Escalation], error: StageError) -> None:
    for escalation in escalations:
        if not escalation.answer.done():
            escalation.answer.set_exception(error)
