"""Asks the expert afterwards about answers that were the screen's alone, and keeps what becomes of the promise.

A share of the answers is drawn. Those drawn wait in a short line, while their requests have long been answered; one
after the other goes to the expert when it has nothing else to do. Where the line is full the newcomer is dropped, which
depends on how busy the expert is, and not on what the item says. Where a broker takes them `elsewhere`, they wait for
it alone, and the answers come back as reports.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, Protocol

from serving.arrays import Array, Logits
from serving.audit.note import Elsewhere, Note, Report
from serving.audit.share import Share
from serving.audit.shared import SharedState
from serving.audit.state import AGREES, AuditState, Raised, Rule, Told, Verdict
from serving.errors import StageError
from serving.model.answer import Answer

LINE = 16
"""So many items wait at most."""
AFTER_S = 0.05
"""An answer has left by then: it is written in the turn of the event loop that made it."""
TELL_EVERY_S = 1.0

logger = logging.getLogger("sieve")

AskWhenIdle = Callable[[Array], Awaitable[Logits]]
"""Where audited items go: the prepared item -> the expert's logits [1, labels], once the expert has time for it.

Raises a StageError where there is none to be had. It may take as long as it likes: the line behind it is short.
"""
Judge = Callable[[Logits], Answer]
"""Reads the expert's logits."""
Item = Callable[[], Array]
"""Prepares an item for the expert, in a thread: a kept answer was given without it."""


class Given(Protocol):
    """An answer of the cascade, as far as an audit looks at it."""

    @property
    def answer(self) -> Answer | None: ...
    @property
    def stage(self) -> str: ...
    @property
    def degraded(self) -> str | None: ...


class _Drawn(NamedTuple):
    answer: Answer
    item: Array | Item
    level: int
    life: int
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the counts say of a promise: the verdict, why and since when it is broken, and the counts of all lives.

    `rate` is observed since the last change, 0 before the first audited item; `bound` is above the true one.
    `window_n` and `window_bound` are of the last items.
    """

    promise: Verdict
    why: str
    since: str
    audited: int
    disagreed: int
    dropped: int
    rate: float
    bound: float
    window_n: int
    window_bound: float

    @classmethod
    def of(cls, state: AuditState, rule: Rule) -> Known:
        """What a state says. Takes about a millisecond."""
        window = state.windows[0]
        return cls(
            promise=state.verdict(rule),
            why=state.broken,
            since=state.broken_at,
            audited=state.audited,
            disagreed=state.disagreed,
            dropped=state.dropped,
            rate=state.whole.rate(),
            bound=state.bound(rule),
            window_n=window.n,
            window_bound=state.window_bound(rule),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Known):
    """The same, and what this process does: the share that it draws, the threshold in use, how that has risen.

    `saved`: whether the counts reach the file that a restart finds again. `broker`: whether that of the setting
    `audit_url` can be reached, null without one.
    """

    share: float
    threshold: float
    raised: list[Raised]
    saved: bool
    broker: Literal["connected", "away"] | None


class Auditor:
    """The audit of one cascade in this process. One event loop uses it.

    `ask` and `judge` give the expert's answer. `rule` is the promise's, `threshold` the one that was published.
    `rises` is given the threshold in use when it is another than before; `tell` what this process has counted, and what
    is known of the promise, every TELL_EVERY_S. With `elsewhere`, items go there and `ask` is not used.
    """

    def __init__(
        self,
        *,
        ask: AskWhenIdle,
        judge: Judge,
        rule: Rule,
        threshold: float,
        share: Share,
        shared: SharedState,
        rises: Callable[[float], None],
        tell: Callable[[Told, Watched], None],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._ask, self._judge, self._rule, self._published = ask, judge, rule, threshold
        self._share, self._shared, self._rises, self._tell = share, shared, rises, tell
        self._line: deque[_Drawn] = deque()
        self._told = Told()
        self._working: asyncio.Task[None] | None = None
        self._threshold = threshold
        self._state = AuditState()
        self._known = Known.of(self._state, rule)
        self.refresh()

    def look(self, answers: Sequence[Given], item: Callable[[int], Array | Item], request_id: str = "") -> None:
        """Draw of the answers to one request. `item` gives the expert's item of a place, or what prepares it."""
        told = self._told
        told.items += len(answers)
        for place, given in enumerate(answers):
            if given.stage == "screen" and given.degraded is None:
                told.trusted += 1
                if self._share.draws() and given.answer is not None:
                    self._drawn(given.answer, item(place), request_id)

    def _drawn(self, answer: Answer, item: Array | Item, request_id: str) -> None:
        full = len(self._line) >= LINE
        if full:
            self._told.dropped += 1
        else:
            self._line.append(_Drawn(answer, item, self._share.level, self._state.life, request_id))
            if self._working is None:
                self._working = asyncio.get_running_loop().create_task(self._work())
        self._share.became(dropped=full)

    async def _work(self) -> None:
        """Audit all that is in the line, and what comes meanwhile."""
        try:
            await asyncio.sleep(AFTER_S)
            while self._line:
                await self._audit(self._line.popleft())
        finally:
            self._working = None

    async def _audit(self, drawn: _Drawn) -> None:
        try:
            item = await asyncio.to_thread(drawn.item) if callable(drawn.item) else drawn.item
            if self._elsewhere is not None:
                note = Note.of(drawn.answer, drawn.level, drawn.life, drawn.request_id)
                return await self._elsewhere.send(item, note)
            theirs = self._judge(await self._ask(item))
        except StageError:
            self._told.dropped += 1
            return
        except Exception:  # whatever it is, requests go on without it
            logger.exception("an answer cannot be audited")
            self._told.dropped += 1
            return
        if drawn.life != self._state.life:  # another threshold gave this answer
            return
        if math.isnan(theirs.confidence):  # the expert failed on this item
            self._told.dropped += 1
            return
        self._told.results[drawn.level, self._place(drawn.answer, theirs)] += 1

    def _place(self, ours: Answer | Note, theirs: Answer) -> int:
        return AGREES if theirs.label == ours.label else self._rule.place(ours.confidence)

    def _reported(self) -> list[Report]:
        """Count what workers elsewhere have told of since the last time. Another process may know a later life."""
        came = self._elsewhere.taken() if self._elsewhere is not None else []
        reports = [report for report in came if report.note.life <= self._state.life]
        for note, logits, _ in reports:
            if note.id in self._state.reported or note.life < self._state.life:
                continue
            self._told.reported[note.id] = None  # no answer
            if logits is not None and not math.isnan((theirs := self._judge(logits)).confidence):
                self._told.reported[note.id] = note.level, self._place(note, theirs)
        return reports

    async def run(self) -> None:
        """Tell and save every TELL_EVERY_S what was counted, for ever, and once more at the end."""
        elsewhere = self._elsewhere
        taking = asyncio.get_running_loop().create_task(elsewhere.run()) if elsewhere is not None else None
        try:
            while True:
                await asyncio.sleep(TELL_EVERY_S)
                try:
                    await self.flush()
                except Exception:  # whatever it is, the next second is another one
                    logger.exception("what was audited lately cannot be told or saved")
        finally:
            if taking is not None:
                taking.cancel()
            self.refresh()

    async def flush(self) -> None:
        """Tell and save what was counted, without holding the event loop."""
        reports = self._reported()
        told = self._take()
        self._knows(told, *await asyncio.to_thread(self._updated, told))
        if self._elsewhere is not None and reports and not self._shared.unsaved:
            await self._elsewhere.counted(reports)

    def refresh(self) -> None:
        """The same at once: when the process starts and when it ends."""
        told = self._take()
        self._knows(told, *self._updated(told))

    def _take(self) -> Told:
        told, self._told = self._told, Told(life=self._state.life)
        return told

    def _updated(self, told: Told) -> tuple[AuditState, Known]:
        state = self._shared.update(told)
        return state, self._known if state == self._state else Known.of(state, self._rule)

    def _knows(self, told: Told, state: AuditState, known: Known) -> None:
        if state.life != self._state.life:
            self._told = Told(life=state.life)  # the little that was counted meanwhile belongs to the life before
            self._line.clear()
        self._log(state)
        self._state, self._known = state, known
        threshold = state.threshold(self._published)
        if threshold != self._threshold:
            self._threshold = threshold
            self._rises(threshold)
        self._tell(told, self.watched())

    def _log(self, state: AuditState) -> None:
        """Say in the log that the promise is broken, and how the threshold has risen since the last look."""
        if state.broken and state.broken_at != self._state.broken_at:
            logger.warning("the promise of %s is broken since %s: %s", self._shared.name, state.broken_at, state.broken)
        for rose in state.raised[len(self._state.raised) :]:
            logger.warning(
                "the threshold of %s rose from %.4f to %.4f at %s: %s",
                *(self._shared.name, rose.before, rose.threshold, rose.at, rose.reason),
            )

    def watched(self) -> Watched:
        """What is known now."""
        return Watched(
            share=self._share.share,
            threshold=self._threshold,
            raised=self._state.raised,
            saved=not self._shared.unsaved,
            broker=None if self._elsewhere is None else "connected" if self._elsewhere.connected else "away",
            **asdict(self._known),
        )
