"""The cascade: the screen answers, and the expert is asked where the screen is unsure, with what is left of the budget.

Only the cascade calls stages; a stage knows neither the other nor the deadline.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from serving.arrays import Array, Logits
from serving.cascade.deferral import OperatingPoint, should_defer
from serving.errors import CallerGoneError, FailedItemError, StageDownError, StageError, StageLateError
from serving.expert.call import Asked, Escalated
from serving.expert.joined import JoinedEscalations
from serving.load.budget import Budget
from serving.load.direct import DirectWork
from serving.model.answer import Answer
from serving.model.head import SOFTMAX, Head
from serving.model.windows import length_of
from serving.timings import Timings
from serving.trace import Trace

# Larger batches would delay every other request, so they go to a thread.
DIRECT_BATCH_SIZE = 8
# Timers count whole milliseconds, and when one ends the screen's answer is still to be written.
ANSWERING_S, ANSWERING_SHARE = 2e-3, 0.05


Gone = Callable[[], Awaitable[object]]
"""Returns when the client has closed its connection."""


GIVEN_UP: Mapping[type[StageError], str] = {
    StageLateError: "the deadline came before the expert's answer",
    CallerGoneError: "the client closed its connection",
}


class AskExpert(Protocol):
    """Asks the expert, in this process's queue or elsewhere."""

    def __call__(
        self, items: Sequence[Array], deadline_s: float, trace: Trace | None, asked: Asked
    ) -> Awaitable[Escalated]:
        """Prepared items of one request -> the expert's answer, with logits [items, labels].

        The answer is of no use after `deadline_s` of the monotonic clock. `trace` is the request's. `asked` is told
        when a call with the items begins. Raises a StageError when the expert gives no answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAnswer:
    """The cascade's answer to one item, and the stage that gave it.

    `escalated`: whether a call with the item was sent to the expert. `degraded`: why the screen's answer stands
    although it deferred. Where there is no `answer`, the screen failed on this item and the expert gave none; then
    `degraded` is `failed`. `cached`: how the answer to an equal item is this one's, too; None for one of its own.
    `screen_confidence`: the screen's, whoever answers; NaN where it failed. `screen_label`: what the screen said where
    the expert answers; None where that is not known.
    """

    answer: Answer | None
    stage: Literal["screen", "expert"]
    escalated: bool
    degraded: str | None
    cached: Literal["kept", "joined"] | None = None
    screen_confidence: float = math.nan
    screen_label: str | tuple[str, ...] | None = None


def _unobserved(_confidence: float, _deferred: bool) -> None:
    """Ignore an observation."""


def _untold() -> None:
    """Ignore that the screen has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCascade:
    """A screen in this process (`screen`: prepared items -> logits) and an expert in another."""

    labels: tuple[str, ...]
    screen: Callable[[Sequence[Array]], Logits]
    expert: AskExpert
    point: OperatingPoint
    screen_head: Head = SOFTMAX
    expert_head: Head = SOFTMAX
    joined: JoinedEscalations | None = None
    """Joins equal escalations, on the way to the same expert."""
    observe: Callable[[float, bool], None] = _unobserved
    """Takes the screen's confidence and whether it deferred, once for each item."""
    direct: DirectWork = field(default_factory=DirectWork)
    """Knows which items the screen runs on the event loop, and which in a thread."""

    async def classify(
        self,
        items: Sequence[Array],
        expert_items: Sequence[Array],
        budget: Budget,
        timings: Timings,
        gone: Gone | None = None,
        screened: Callable[[], None] = _untold,
        *,
        trace: Trace | None = None,
        keys: Sequence[bytes] | None = None,
    ) -> list[StageAnswer]:
        """One answer an item, in order. `expert_items` are the same items, prepared for the expert.

        `screened` is called when the screen has run. `keys` are equal where items are; then equal escalations join.

        All items that defer go to the expert together. When it is late, refuses, is down, or the client is `gone`, the
        screen's answers stand. An item on which a stage failed has logits of NaN: the screen then defers it, and the
        expert counts as down for it. Times the parts `screen`, `queue` (for a place in a call, and for the call before
        it), `hop` (to the expert's process and back) and `expert`.
        """
        given = await self._screened(items)
        timings.end("screen")
        screened()
        answers = [
            StageAnswer(answer=a, stage="screen", escalated=False, degraded=None, screen_confidence=a.confidence)
            for a in given
        ]
        deferred = self._deferred(given)
        if not deferred:
            return answers
        left_s = budget.left_ms(time.monotonic()) / 1e3
        if left_s <= 0:
            for place in deferred:
                answers[place] = _degraded(given[place], StageLateError.reason, escalated=False)
            return answers
        asked = Asked()
        try:
            wanted = [expert_items[place] for place in deferred]
            # No name for the answer, see `_in_time`.
            escalated = await _in_time(
                self.expert(wanted, budget.deadline_s, trace, asked)
                if keys is None or self.joined is None
                else self.joined.ask(wanted, [keys[place] for place in deferred], budget.deadline_s, trace, asked),
                left_s,
                gone,
            )
        except StageError as error:
            timings.end("queue")
            for place in deferred:
                answers[place] = _degraded(given[place], error.reason, escalated=asked.sent)
            return answers
        timings.split("hop", {"queue": escalated.queue_ms, "expert": escalated.expert_ms})
        expert_answers = self.expert_head.answers(escalated.logits, self.labels, self.point.expert_temperature)
        for number, (place, theirs) in enumerate(zip(deferred, expert_answers, strict=True)):
            joined = number in escalated.joined
            if math.isnan(theirs.confidence):
                answers[place] = _degraded(given[place], StageDownError.reason, escalated=not joined)
            else:
                answers[place] = StageAnswer(
                    answer=theirs,
                    stage="expert",
                    escalated=not joined,
                    degraded=None,
                    cached="joined" if joined else None,
                    screen_confidence=given[place].confidence,
                    screen_label=None if math.isnan(given[place].confidence) else given[place].label,
                )
        return answers

    async def _screened(self, items: Sequence[Array]) -> list[Answer]:
        units = sum(map(length_of, items))

        def run() -> Logits:
            if not self.direct.times(units):
                return self.screen(items)
            # Processor time: a busy machine makes no work longer.
            begin_s = time.thread_time()
            logits = self.screen(items)
            self.direct.took(units, (time.thread_time() - begin_s) * 1e3)
            return logits

        if len(items) <= DIRECT_BATCH_SIZE and self.direct.fits(units):
            logits = run()
        else:
            logits = await asyncio.to_thread(run)
        return self.screen_head.answers(logits, self.labels, self.point.screen_temperature)

    def _deferred(self, screened: Sequence[Answer]) -> list[int]:
        """The places of the answers that defer."""
        deferred = []
        for place, answer in enumerate(screened):
            defers = should_defer(answer, self.point)
            if not math.isnan(answer.confidence):
                self.observe(answer.confidence, defers)
            if defers:
                deferred.append(place)
        return deferred


def _degraded(answer: Answer, reason: str, *, escalated: bool) -> StageAnswer:
    if math.isnan(answer.confidence):
        return StageAnswer(answer=None, stage="screen", escalated=escalated, degraded=FailedItemError.reason)
    return StageAnswer(answer=answer, stage="screen", escalated=escalated, degraded=reason)


def wait_s(left_s: float) -> float:
    """For how long an answer is waited for where so much of the budget is left."""
    return left_s - min(ANSWERING_S, ANSWERING_SHARE * left_s)


async def _in_time(answer: Awaitable[Escalated], left_s: float, gone: Gone | None) -> Escalated:
    """Wait for the answer. When time is up or the client is `gone`, cancel it and raise a StageError.

    Callbacks cancel the answer itself: asyncio.wait and asyncio.timeout would cost a turn of the event loop or a task.
    """
    asked = asyncio.ensure_future(answer)
    del answer
    given_up: list[type[StageError]] = []
    timer = asyncio.get_running_loop().call_later(wait_s(left_s), _give_up, StageLateError, asked, given_up)
    hung_up = asyncio.ensure_future(gone()) if gone else None
    if hung_up is not None:
        hung_up.add_done_callback(partial(_give_up, CallerGoneError, asked, given_up))
    try:
        return await asked
    except asyncio.CancelledError:
        if given_up and not _is_cancelled():
            raise given_up[0](GIVEN_UP[given_up[0]]) from None
        raise
    finally:
        asked.cancel()
        timer.cancel()
        if hung_up is not None:
            hung_up.cancel()
        # An error holds this frame, and what failed holds its error: only the garbage collector would end such a
        # circle, and under overload there are so many that it holds the event loop for 30 ms.
        del asked, timer, hung_up


def _give_up(
    error: type[StageError],
    asked: asyncio.Future[Escalated],
    given_up: list[type[StageError]],
    _hung_up: asyncio.Future[object] | None = None,
) -> None:
    """Cancel what was asked, unless it has ended, and note why. The error is made where it is raised."""
    if not asked.done():
        given_up.append(error)
        asked.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
