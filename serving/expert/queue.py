"""The queue in front of one expert: escalations that wait go together in one call."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from serving.arrays import Array, Logits
from serving.errors import StageDownError, StageError, StageLateError
from serving.expert.call import Asked, CallSpans, Escalated, ExpertCall, GuardedCall, Ran
from serving.expert.chunks import ask_in_chunks
from serving.expert.window import BatchWindow
from serving.load.batch import NextBatch, next_batch, sifted
from serving.load.breaker import CircuitBreaker, Token
from serving.load.forecast import Forecast, Waiting
from serving.model.windows import longest
from serving.settings import MAX_BATCH_SIZE, MAX_BATCH_TOKENS
from serving.trace import CallSpan, Trace


@dataclass(frozen=True, slots=True, eq=False)
class _Escalation(Waiting):
    items: Sequence[Array]
    since_s: float
    answer: asyncio.Future[Escalated]
    trace: Trace | None
    asked: Asked


@dataclass(slots=True, eq=False)
class _Call:
    """A call under way: when it is expected to be back, and when it would be in most cases."""

    size: int
    length: int
    sent_s: float
    ends_s: float = 0.0
    surely_s: float = 0.0


class Escalations:
    """The queue in front of one expert. One event loop uses it.

    An escalation goes at once, or after `batch_window_ms`, while fewer than `calls_in_flight` calls run side by side.
    Else it waits until one of them is about to end: the next call is sent early by its way to the expert.

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
        max_batch_tokens: int = MAX_BATCH_TOKENS,
        batch_window_ms: float = 0.0,
        calls_in_flight: int = 1,
        tell: Callable[[CallSpan], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        window_s = batch_window_ms / 1e3
        self.breaker = CircuitBreaker()
        self.forecast = Forecast(
            max_batch_size=max_batch_size,
            max_batch_tokens=max_batch_tokens,
            calls_in_flight=calls_in_flight,
            window_s=window_s,
        )
        self._unguarded = call
        self._call = GuardedCall(call, self.breaker, CallSpans(tell, clock), clock)
        self._window = BatchWindow(window_s, clock, self._send_waiting)
        self._clock = clock
        self._waiting: list[_Escalation] = []
        self._looked_at = 0
        self._under_way: list[_Call] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._settles_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._idle_again = asyncio.Event()

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

    async def measure(self, items: Sequence[Array]) -> float:
        """Milliseconds of a call that does not wait in the queue, which the forecast learns. No breaker, no limit.

        Raises a StageError when the expert gives no answer.
        """
        begin_s = self._clock()
        ran = await self._unguarded(items, None, math.inf)
        took_ms = (self._clock() - begin_s) * 1e3
        self._learn(len(items), longest(items), ran, took_ms, alone=not self._under_way)
        return took_ms

    async def ask_when_idle(self, items: Sequence[Array], patience_s: float) -> Logits:
        """The expert's logits [items, labels] for items that nobody waits for: asked once no call runs and none waits.

        They are at most a batch. Raises a StageError where the expert gives no answer within `patience_s` of the call,
        or fails and is left alone.
        """
        while self._waiting or self._under_way:
            self._idle_again.clear()
            await self._idle_again.wait()
        now_s, length = self._clock(), longest(items)
        if self.breaker.state(now_s) != "closed":  # the one call that a half-open breaker lets through is a request's
            raise _not_asked()
        answer: asyncio.Future[Escalated] = asyncio.get_running_loop().create_future()
        asked = _Escalation(len(items), length, now_s + patience_s, items, now_s, answer, None, Asked())
        self._start(NextBatch(batch=[asked], size=len(items), length=length), now_s)
        return (await answer).logits

    def submit(
        self, items: Sequence[Array], deadline_s: float, trace: Trace | None = None, asked: Asked | None = None
    ) -> asyncio.Future[Escalated]:
        """The same as `ask` as a future, which saves a task and two turns of the event loop.

        A refusal is raised at once. `asked` is told when a call with the items begins.
        """
        size, length, asked = len(items), longest(items), asked or Asked()
        if size > (most := self.forecast.most_items(length)):
            submit = partial(self.submit, deadline_s=deadline_s, trace=trace, asked=asked)
            return asyncio.ensure_future(ask_in_chunks(submit, items, most))
        now_s = self._clock()
        if self.breaker.would_refuse(now_s):
            raise _not_asked()
        if self.forecast.earliest_end_s(now_s, size, length, self._surely_s()) > deadline_s:
            if not self._under_way and not self._waiting:
                self.forecast.refused(length, now_s)
            raise _late()
        loop = asyncio.get_running_loop()
        escalation = _Escalation(size, length, deadline_s, items, now_s, loop.create_future(), trace, asked)
        self._waiting.append(escalation)
        if len(self._waiting) > max(1, self._looked_at):
            self._drop_hopeless(now_s)
            if escalation.answer.done() and (error := escalation.answer.exception()):
                raise error
        # Not at once: escalations that arrive in the same turn of the event loop go along.
        loop.call_soon(self._send_waiting)
        return escalation.answer

    def _drop_hopeless(self, now_s: float) -> None:
        """Fail those that the calls to come cannot answer in time, each time that the queue has grown by a quarter."""
        self._waiting, late = sifted(self._wanted(), now_s, self._free_s(now_s), self.forecast)
        _fail(late, _late())
        self._looked_at = len(self._waiting) * 5 // 4

    def _wanted(self) -> list[_Escalation]:
        return [waiting for waiting in self._waiting if not waiting.answer.done()]

    def _free_s(self, now_s: float) -> float:
        return self.forecast.free_s(now_s, self._surely_s())

    def _ends_s(self) -> list[float]:
        return [call.ends_s for call in self._under_way]

    def _surely_s(self) -> list[float]:
        return [call.surely_s for call in self._under_way]

    def _send_waiting(self) -> None:
        while self._waiting:
            now_s, first = self._clock(), self._waiting[0]
            goes_s = self.forecast.may_go_s(now_s, len(self._waiting), first.length, self._ends_s())
            if goes_s > now_s:
                return self._send_later(goes_s - now_s)
            full = sum(waiting.size for waiting in self._waiting) >= self.forecast.most_items(first.length)
            if not full and self._window.hold(first.since_s):
                return None
            formed = next_batch(self._wanted(), now_s, self._free_s(now_s), self.forecast)
            self._waiting = formed.rest
            self._looked_at = len(self._waiting) * 5 // 4
            _fail(formed.late, _late())
            if formed.batch:
                self._start(formed, now_s)
        if not self._under_way:
            self._idle_again.set()
        return None

    def _send_later(self, left_s: float) -> None:
        if self._timer is None and left_s < math.inf:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._send_waiting()

    def _start(self, formed: NextBatch[_Escalation], now_s: float) -> None:
        token = self.breaker.begin(now_s)
        if token is None:
            return _fail(formed.batch, _not_asked())
        for escalation in formed.batch:
            escalation.asked.sent = True
        call = _Call(formed.size, formed.length, now_s)
        alone = not self._under_way and now_s >= self._settles_s
        self._foresee(call, self.forecast.free_s(now_s, self._ends_s()), self._free_s(now_s))
        self._under_way.append(call)
        task = asyncio.get_running_loop().create_task(self._send(formed, token, call, alone=alone))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    def _foresee(self, call: _Call, free_s: float, surely_free_s: float) -> None:
        """Say when a call ends that the expert can start then, or then in most cases."""
        call.ends_s = self.forecast.end_s(call.sent_s, call.size, call.length, free_s)
        call.surely_s = self.forecast.times(call.length).end_s(call.sent_s, surely_free_s, call.size)

    def _ended(self, call: _Call) -> None:
        self._under_way.remove(call)
        if len(self._under_way) >= self.forecast.side_by_side:
            # The call that has waited in the expert starts now, whatever was expected when it was sent.
            now_s = self._clock()
            self._foresee(self._under_way[self.forecast.side_by_side - 1], now_s, now_s)
        self._send_waiting()

    async def _send(self, formed: NextBatch[_Escalation], token: Token, call: _Call, *, alone: bool) -> None:
        begin_s = self._clock()
        items = [item for escalation in formed.batch for item in escalation.items]
        traces = [escalation.trace for escalation in formed.batch]
        try:
            deadline_s = max(escalation.deadline_s for escalation in formed.batch)
            ran = await self._call(token, items, traces, deadline_s)
            took_ms = (self._clock() - begin_s) * 1e3
            self._settles_s = 0.0
            _hand_out(formed.batch, ran, begin_s, took_ms)
            learn = partial(self._learn, formed.size, formed.length, ran, took_ms, alone=alone)
            if self._waiting:
                learn()
            else:  # nothing is to be sent that it would be for, and the answer goes out first
                asyncio.get_running_loop().call_soon(learn)
        except StageError as error:
            if isinstance(error, StageLateError):
                self._gave_up(formed, begin_s, alone=alone)
            _fail(formed.batch, error)
        except BaseException:
            _fail(formed.batch, StageDownError("the call to the expert was given up"))
            raise
        finally:
            self._ended(call)

    def _learn(self, size: int, length: int, ran: Ran, took_ms: float, *, alone: bool) -> None:
        known, waited_ms = alone or ran.waited_ms is not None, ran.waited_ms or 0.0
        self.forecast.observe(size, length, took_ms - waited_ms, ran.expert_ms, hop_known=known)

    def _gave_up(self, formed: NextBatch[_Escalation], begin_s: float, *, alone: bool) -> None:
        now_s = self._clock()
        if alone:
            self.forecast.gave_up(formed.size, formed.length, (now_s - begin_s) * 1e3)
        # The expert may still run the call, and one that waits behind it is not alone. Expect as long again.
        self._settles_s = 2 * now_s - begin_s


def _late() -> StageLateError:
    return StageLateError("the expert is expected to take longer than is left")


def _not_asked() -> StageDownError:
    return StageDownError("the expert failed several times in a row and is not asked for a while")


def _hand_out(batch: Iterable[_Escalation], ran: Ran, begin_s: float, took_ms: float) -> None:
    """Give every escalation its rows of the logits, from a call that began at `begin_s`."""
    waited_ms = ran.waited_ms or 0.0
    hop_ms = max(0.0, took_ms - waited_ms - ran.expert_ms)
    start = 0
    for escalation in batch:
        rows = ran.logits[start : start + escalation.size]
        start += escalation.size
        if not escalation.answer.done():
            queue_ms = (begin_s - escalation.since_s) * 1e3 + waited_ms
            escalation.answer.set_result(Escalated(rows, queue_ms, hop_ms, ran.expert_ms))


def _fail(escalations: Iterable[_Escalation], error: StageError) -> None:
    for escalation in escalations:
        if not escalation.answer.done():
            escalation.answer.set_exception(error)
