"""Asks a second cascade about a share of what the served one has answered, and counts how the two compare.

Items that are drawn wait in a short line until their requests have been answered and nobody works on the event loop.
What does not fit into the line, or waits too long, is dropped: that depends on how busy the process is, and not on what
the item says. The second cascade has an expert of its own. Only where the two differ is the served cascade's expert
asked. `serving.shadow.experts` says where both are.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from serving.cascade.cascade import StageAnswer
from serving.cascade.modality import Modality
from serving.errors import StageError
from serving.load.budget import Budget
from serving.model.answer import Answer
from serving.model.preprocess import Content, StageItems
from serving.shadow.counts import Compared, Counts, Described, Outcome
from serving.shadow.experts import Experts
from serving.shadow.shared import SharedCounts
from serving.timings import Timings

LINE, LINE_BYTES = 16, 64_000_000
"""So many items wait at most, and so much of decoded images."""
AFTER_S = 0.05
"""An answer has left by then: it is written in the turn of the event loop that made it."""
LOOK_EVERY_S, PATIENCE_S = 0.005, 1.0
"""How often a drawn item looks whether somebody works, and how long it waits for a moment in which nobody does."""
TELL_EVERY_S = 2.0
WORK = ("tokenise", "decode", "screen", "queue", "hop", "expert")
MODELS = ("screen", "expert")

logger = logging.getLogger("sieve")


class Reporter(Protocol):
    """Is told how the two compare."""

    def took(self, served_s: float, shadow_s: float) -> None:
        """Seconds of one item in both cascades, from its content to its label."""

    def counted(self, new: Counts, compared: Compared) -> None:
        """What this process has counted since the last time, and what all processes know together."""

    def waits(self, seconds: float) -> None:
        """How long the item in hand has been there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the served cascade did with an item. Its times are None where other items had a part in them."""

    modality: Modality
    answer: StageAnswer
    timings: Timings | None


@dataclass(frozen=True, slots=True)
class _Drawn:
    content: Content
    served: Served
    held_bytes: int


class Shadow:
    """The `shadow` of one served cascade in this process. One event loop uses it.

    `experts` are those of both. `idle` says whether nobody works on the event loop. `folder` is shared with the other
    processes of this server.
    """

    def __init__(
        self,
        shadow: Modality,
        experts: Experts,
        *,
        share: float,
        margin: float,
        idle: Callable[[], bool],
        folder: Path | None,
        reporter: Callable[[str], Reporter],
        seed: int | None = None,
    ) -> None:
        self._shadow, self._share, self._margin, self._idle = shadow, share, margin, idle
        self._folder, self._reporter = folder, reporter
        self._experts = experts
        self._rng = random.Random(seed)  # nosec B311 # no secret
        self._line: deque[_Drawn] = deque()
        self._held_bytes = 0
        self._said: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._warm = False
        self._working: asyncio.Task[None] | None = None
        self._since_s = math.inf
        self._shared = SharedCounts(None, "")
        self._of: Modality | None = None
        self._counts, self._told = Counts(), Counts()

    @property
    def name(self) -> str:
        """The name of the shadow's cascade."""
        return self._shadow.name

    def start(self) -> None:
        """Compare once the shadow's expert can be asked, and tell from now on what was counted."""
        self._later(self._keep())

    def look(
        self, modality: Modality, contents: Sequence[Content], answers: Sequence[StageAnswer], timings: Timings
    ) -> None:
        """Draw from the items of one request that the served cascade has answered in full."""
        if self._of is not None and self._of.version != modality.version:
            self._begin(modality)
        alone = len(answers) == 1
        for content, answer in zip(contents, answers, strict=True):
            if self._rng.random() < self._share and answer.answer is not None and answer.degraded is None:
                own_times = timings if alone and answer.cached is None else None
                self._drawn(content, Served(modality=modality, answer=answer, timings=own_times))

    async def describe(self) -> Described:
        """What /models says of the shadow."""
        counts, served = self._counts.plus(Counts()), self._of
        compared = await self._compared(self._shared.together(counts))
        return Described(
            name=self.name,
            version=self._shadow.version,
            models={"screen": self._shadow.screen_tag, "expert": self._shadow.expert_tag},
            served=None if served is None else served.name,
            served_version=None if served is None else served.version,
            share=self._share,
            broker=self._experts.broker,
            **{each.name: getattr(compared, each.name) for each in fields(Compared)},
        )

    def _drawn(self, content: Content, served: Served) -> None:
        if self._of is None:
            self._begin(served.modality)
        held_bytes = _bytes_of(content)
        if not self._warm or len(self._line) >= LINE or self._held_bytes + held_bytes > LINE_BYTES:
            self._counts.outcomes["dropped"] += 1
            return
        self._held_bytes += held_bytes
        self._line.append(_Drawn(content, served, held_bytes))
        if self._working is None or self._working.done():
            self._working = self._later(self._work())

    def _begin(self, served: Modality) -> None:
        """Count anew: another version of the served cascade answers. What waits for an answer is of the one before."""
        if self._working is not None:
            self._working.cancel()
        if self._of is not None:
            self._counts.outcomes["waiting"] = 0
            self._later(self._report())
        self._of = served
        self._working, self._held_bytes, self._since_s = None, 0, math.inf
        self._line.clear()
        self._counts, self._told = Counts(), Counts()
        name = f"shadow-{served.name}-{served.version}-{self.name}-{self._shadow.version}"
        self._shared = SharedCounts(self._folder, name)
        self._tell = self._reporter(served.name)

    async def _work(self) -> None:
        """Compare all that is in the line, and what comes meanwhile."""
        await asyncio.sleep(AFTER_S)
        counts = self._counts
        while self._line and counts is self._counts:
            drawn, counts.outcomes["waiting"] = self._line.popleft(), 1
            self._since_s = time.monotonic()
            outcome = await self._compared_with(drawn, counts)
            counts.outcomes["waiting"] = 0
            counts.outcomes[outcome] += 1
            if counts is not self._counts:  # cancelled, and whoever was waited for has swallowed that
                return
            self._held_bytes -= drawn.held_bytes
            self._since_s = math.inf
            del drawn

    async def _compared_with(self, drawn: _Drawn, counts: Counts) -> Outcome:
        if not await self._idle_soon():
            return "dropped"
        timings = Timings()
        try:
            items = await asyncio.to_thread(self._shadow.prepare, drawn.content)
            timings.end("tokenise")
            answer = await self._asked(items, timings)
            if counts is not self._counts:  # as below: nobody else need be asked
                return "dropped"
            return await self._outcome(drawn, answer, timings, counts)
        except Exception as error:  # noqa: BLE001 # whatever it is, no request has a part in it
            if (kind := type(error).__name__) not in self._said:
                self._said.add(kind)
                logger.warning("the shadow %s fails on items, and this is said once: %s", self.name, kind)
            return "failed"

    async def _asked(self, items: StageItems, timings: Timings) -> StageAnswer:
        budget = Budget(time.monotonic(), self._experts.budget_ms)
        (answer,) = await self._experts.cascade.classify([items.screen], [items.expert], budget, timings)
        return answer

    async def _outcome(self, drawn: _Drawn, ours: StageAnswer, timings: Timings, counts: Counts) -> Outcome:
        if ours.answer is None or ours.degraded is not None:
            return "failed"
        served = drawn.served
        assert served.answer.answer is not None, "only full answers are drawn"
        counts.escalations(served=served.answer.stage == "expert", shadow=ours.stage == "expert")
        if served.timings is not None and self._experts.timed:
            served_ms, shadow_ms = served.timings.spent_ms(*WORK), timings.spent_ms(*WORK)
            counts.took_ms.add(served_ms, shadow_ms)
            counts.model_ms.add(served.timings.spent_ms(*MODELS), timings.spent_ms(*MODELS))
            self._tell.took(served_ms / 1e3, shadow_ms / 1e3)
        theirs, shadows = _label(served.answer.answer), _label(ours.answer)
        if theirs == shadows:
            return "same"
        if served.answer.stage == "expert":
            return "worse"
        right = await self._settled(drawn)
        if right is None:
            return "unsettled"
        return "better" if right == shadows else "worse" if right == theirs else "neither"

    async def _settled(self, drawn: _Drawn) -> frozenset[str] | None:
        """What the served cascade's expert answers; None where it has no time, or gives no answer."""
        modality = drawn.served.modality
        items = await asyncio.to_thread(modality.prepare, drawn.content)
        try:
            logits = await self._experts.settle(modality, items.expert)
        except StageError:
            return None
        cascade = modality.cascade
        (answer,) = cascade.expert_head.answers(logits, cascade.labels, cascade.point.expert_temperature)
        return None if math.isnan(answer.confidence) else _label(answer)

    async def _idle_soon(self) -> bool:
        end_s = time.monotonic() + PATIENCE_S
        while not self._idle():
            if time.monotonic() > end_s:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def _keep(self) -> None:
        await self._experts.ready()
        self._warm = True
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            if self._of is not None:
                self._tell.waits(max(0.0, time.monotonic() - self._since_s))
                if self._counts != self._told:
                    await self._report()

    def _report(self) -> Coroutine[Any, Any, None]:
        """Tell what is counted now, whatever is served when it is told."""
        now, told = self._counts.plus(Counts()), self._told
        self._told = now
        return self._reported(now.plus(told, -1), self._shared.together(now), self._tell)

    async def _reported(self, new: Counts, together: Callable[[], Counts], tell: Reporter) -> None:
        tell.counted(new, await self._compared(together))

    async def _compared(self, together: Callable[[], Counts]) -> Compared:
        return await asyncio.to_thread(lambda: Compared.of(together(), self._margin))

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _label(answer: Answer) -> frozenset[str]:
    """The label, or the set of them; two cascades may have them in another order."""
    return frozenset((answer.label,) if isinstance(answer.label, str) else answer.label)


def _bytes_of(content: Content) -> int:
    """The memory that an item holds while it waits: of an image its pixels, of a text next to nothing."""
    if isinstance(content, Image.Image):
        return content.width * content.height * len(content.getbands())
    return 0
