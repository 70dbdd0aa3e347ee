"""The cascade: the screen answers, and the expert is asked where the screen is unsure, with what is left of the budget.

Only the cascade calls stages; a stage knows neither the other nor the deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serving.arrays import Array, Logits
from serving.cascade.deferral import OperatingPoint, should_defer
from serving.errors import CallerGoneError, StageError, StageLateError
from serving.expert.call import Escalated
from serving.load.budget import Budget
from serving.model.answer import Answer, answers_from_logits
from serving.timings import Timings
from serving.trace import Trace

# One screened text takes about half a millisecond, and handing it to a thread costs a tenth of that and a wait for the
# interpreter lock. A large batch would hold up every other request, so it goes to a thread.
DIRECT_BATCH_SIZE = 8


Gone = Callable[[], Awaitable[object]]
"""Ends when the caller has hung up."""


class AskExpert(Protocol):
    """What answers for the expert, by a deadline. Raises a StageError when it cannot."""

    def __call__(self, items: Sequence[Array], deadline_s: float, trace: Trace | None) -> Awaitable[Escalated]:
        """Prepared items (token ids [tokens], or pixels [channels, height, width]) -> logits [items, labels].

        `trace`: where their request stands in a trace.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAnswer:
    """What the cascade says of one item. `escalated`: whether the expert was called. `degraded`: why the screen's
    answer stands although it deferred, or None.
    """

    answer: Answer
    stage: Literal["screen", "expert"]
    escalated: bool
    degraded: str | None


def _nothing(_confidence: float, _deferred: bool) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCascade:
    """A screen in this process (`screen`: prepared items -> logits) and an expert in another."""

    labels: tuple[str, ...]
    screen: Callable[[Sequence[Array]], Logits]
    expert: AskExpert
    point: OperatingPoint
    observe: Callable[[float, bool], None] = _nothing
    """Told the screen's confidence and whether it deferred, once for each item."""

    async def classify(
        self,
        items: Sequence[Array],
        expert_items: Sequence[Array],
        budget: Budget,
        timings: Timings,
        gone: Gone | None = None,
        *,
        trace: Trace | None = None,
    ) -> list[StageAnswer]:
        """One outcome an item, in order. `expert_items` are the same items as the expert wants them prepared.

        All items that defer go to the expert together; when it is late, refuses or is down, the screen's answers
        stand, and when the caller is `gone`, nobody waits for it. Times the parts `screen`, `queue` (for a place in
        a call to the expert), `hop` (to its process and back) and `expert`.
        """
        if len(items) <= DIRECT_BATCH_SIZE:
            logits = self.screen(items)
        else:
            logits = await asyncio.to_thread(self.screen, items)
        answers = answers_from_logits(logits, self.labels, self.point.screen_temperature)
        timings.end("screen")
        outcomes = [StageAnswer(answer=a, stage="screen", escalated=False, degraded=None) for a in answers]
        defers = [should_defer(answer, self.point) for answer in answers]
        for answer, defer in zip(answers, defers, strict=True):
            self.observe(answer.confidence, defer)
        deferred = [i for i, defer in enumerate(defers) if defer]
        if not deferred:
            return outcomes
        left_s = budget.left_ms(time.monotonic()) / 1e3
        if left_s <= 0:
            for i in deferred:
                outcomes[i] = StageAnswer(
                    answer=answers[i], stage="screen", escalated=False, degraded=StageLateError.reason
                )
            return outcomes
        try:
            asked = self.expert([expert_items[i] for i in deferred], budget.deadline_s, trace)
            escalated = await _in_time(asked, left_s, gone)
        except StageError as error:
            timings.end("queue")
            for i in deferred:
                outcomes[i] = StageAnswer(answer=answers[i], stage="screen", escalated=True, degraded=error.reason)
            return outcomes
        timings.split("hop", {"queue": escalated.queue_ms, "expert": escalated.expert_ms})
        expert_answers = answers_from_logits(escalated.logits, self.labels, self.point.expert_temperature)
        for i, answer in zip(deferred, expert_answers, strict=True):
            outcomes[i] = StageAnswer(answer=answer, stage="expert", escalated=True, degraded=None)
        return outcomes


async def _in_time(answer: Awaitable[Escalated], left_s: float, gone: Gone | None) -> Escalated:
    """The answer, or a StageError when time is up or the caller is `gone` before it; then it is cancelled.

    By callbacks on the answer itself: asyncio.wait and asyncio.timeout would cost a turn of the event loop, or a task.
    """
    asked = asyncio.ensure_future(answer)
    given_up: list[StageError] = []

    def give_up(error: StageError) -> None:
        if not asked.done():
            given_up.append(error)
            asked.cancel()

    late = StageLateError("the deadline came before the expert's answer")
    timer = asyncio.get_running_loop().call_later(left_s, give_up, late)
    hung_up = asyncio.ensure_future(gone()) if gone else None
    if hung_up is not None:
        hung_up.add_done_callback(lambda _: give_up(CallerGoneError("the client closed its connection")))
    try:
        return await asked
    except asyncio.CancelledError:
        if given_up and not _is_cancelled():
            raise given_up[0] from None
        raise
    finally:
        asked.cancel()
        timer.cancel()
        if hung_up is not None:
            hung_up.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
