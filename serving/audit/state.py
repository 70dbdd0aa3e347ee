"""What audits say of a promise: the counts, the verdict, and how far the threshold has risen. Pure.

The promise is about all items; what is audited are those that the screen was trusted on. Of the others the answer is
the expert's, or the screen's for want of the expert's, and neither is a miss. How large their share is is known, so

    rate of misses = share of the trusted x rate of misses among the trusted,

and only the second factor is estimated, with the bounds of `serving.audit.betting`. What is lost on the way to the
expert is so left out of both sides: it cannot make the rate look smaller.

Two things are tested at every look: the mean rate since the beginning, and that of the last items, in windows. A window
ends after 2 x `half` audited items, and one begins every `half` of them, so that one of `half` to 2 x `half` always
runs. Of delta, the chance of a false alarm over the service's life, half goes to the first test and half to all windows
together: window k gets its half / (k (k + 1)), which adds up to the half however many windows there are.

When either test shows more than alpha, the promise is broken. The evidence then begins anew, as a new life, which gets
half of the delta that the life before had: all lives together stay below delta. A promise is mended when a bound below
alpha is known in the new life.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

from serving.audit.betting import WEIGHTS, evidence_above, least_rate, most_rate

Verdict = Literal["holds", "undecided", "broken"]
AGREES = -1
KEPT_IDS = 1024
"""More than a broker delivers before it waits for an acknowledgement."""
HALF_MISSES = 20
"""So many misses are expected in half a window at the rate alpha: 2,000 items at 1 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is promised, and what follows when it breaks.

    `thresholds` are those that were certified, ascending from the one in use; `raises`: whether the threshold rises
    along them.
    """

    alpha: float
    delta: float
    thresholds: tuple[float, ...] = ()
    raises: bool = False

    @property
    def half(self) -> int:
        """Audited items of half a window."""
        return math.ceil(HALF_MISSES / self.alpha)

    def place(self, confidence: float) -> int:
        """How many of the thresholds an answer of this confidence reaches."""
        return bisect_right(self.thresholds, confidence)


@dataclass(slots=True)
class Told:
    """What one process has counted since it told of it last, in the `life` that it knew of.

    `results`: audited items by the place of their weight in WEIGHTS, and by the place of the screen's confidence where
    the expert disagreed, AGREES where it did not. `reported`: the same of each item that a worker elsewhere has
    told of, by the id of its audit, None where there is no answer. An id that comes again counts once.
    """

    life: int = 0
    items: int = 0
    trusted: int = 0
    dropped: int = 0
    results: Counter[tuple[int, int]] = field(default_factory=Counter)
    reported: dict[str, tuple[int, int] | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.items or self.dropped or self.results or self.reported)

    def counts(self, known: Collection[str] = ()) -> tuple[Counter[tuple[int, int]], int]:
        """All results, and how many items were dropped, without the reports whose ids are `known`."""
        new = [result for each, result in self.reported.items() if each not in known]
        return self.results + Counter(filter(None, new)), self.dropped + new.count(None)

    def add(self, other: Told) -> None:
        """Add what was counted in the same life."""
        self.items += other.items
        self.trusted += other.trusted
        self.dropped += other.dropped
        self.results.update(other.results)
        self.reported.update(other.reported)


@dataclass(slots=True)
class Stretch:
    """What was counted since a moment. `number`: of a window, from 1 on; 0 for a whole life.

    `audited` by the places of WEIGHTS; `missed`: the same of the misses, by the places of their confidences.
    """

    number: int = 0
    items: int = 0
    trusted: int = 0
    audited: list[int] = field(default_factory=lambda: [0] * len(WEIGHTS))
    missed: dict[int, list[int]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many items were audited."""
        return sum(self.audited)

    @property
    def weight(self) -> float:
        """How many items those stand for, relative to the full share."""
        return sum(n * weight for n, weight in zip(self.audited, WEIGHTS, strict=True))

    def misses(self, above: int = 0) -> list[int]:
        """Misses by the places of WEIGHTS, of those whose confidence reaches more than `above` thresholds."""
        rows = [row for place, row in self.missed.items() if place >= above]
        return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * len(WEIGHTS)

    @property
    def trusted_share(self) -> float:
        """Of all items; 1 while there are none."""
        return self.trusted / self.items if self.items else 1.0

    def rate(self, above: int = 0) -> float:
        """The observed rate of misses among all items, 0 before the first audited one."""
        missed = sum(n * weight for n, weight in zip(self.misses(above), WEIGHTS, strict=True))
        return self.trusted_share * missed / self.weight if self.weight else 0.0

    def count(self, level: int, place: int) -> None:
        """Count an audited item."""
        self.audited[level] += 1
        if place != AGREES:
            self.missed.setdefault(place, [0] * len(WEIGHTS))[level] += 1

    def breaks(self, alpha: float, delta: float) -> bool:
        """Whether the mean rate is shown to be above alpha, an error in a share of at most delta of all lives."""
        if not self.missed or not self.trusted:
            return False
        return evidence_above(alpha / self.trusted_share, self.weight, self.misses()) >= -math.log(delta)

    def least(self, delta: float) -> float:
        """A bound below the mean rate among all items."""
        return self.trusted_share * least_rate(self.weight, self.misses(), delta)

    def most(self, delta: float) -> float:
        """A bound above it."""
        return self.trusted_share * most_rate(self.weight, self.misses(), delta)


@dataclass(frozen=True, slots=True)
class Raised:
    """The threshold rose to `threshold` from `before`, at a time of day in ISO 8601, for a reason."""

    threshold: float
    before: float
    at: str
    reason: str


@dataclass(slots=True)
class AuditState:
    """All that is known of one promise, of all processes that share it."""

    life: int = 0
    whole: Stretch = field(default_factory=Stretch)
    windows: list[Stretch] = field(default_factory=lambda: [Stretch(number=1)])
    broken: str = ""
    """Why the promise is broken; empty while it is not."""
    broken_at: str = ""
    raised: list[Raised] = field(default_factory=list)
    audited: int = 0
    disagreed: int = 0
    dropped: int = 0
    """Over all lives, as the two before it."""
    reported: list[str] = field(default_factory=list)
    """The ids of the last reports that were counted."""

    def add(self, told: Told, rule: Rule, now: str) -> None:
        """Add what a process has counted, and judge. What it counted in an earlier life no longer counts.

        `now`: the time of day in ISO 8601, for what is told of a break.
        """
        results, dropped = told.counts(set(self.reported))
        if told.reported:
            self.reported = list(dict.fromkeys([*self.reported, *told.reported]))[-KEPT_IDS:]
        self.dropped += dropped
        self.audited += results.total()
        self.disagreed += sum(count for (_, place), count in results.items() if place != AGREES)
        if told.life != self.life:
            return
        for stretch in (self.whole, *self.windows):
            stretch.items += told.items
            stretch.trusted += told.trusted
        for level, place in results.elements():
            self.whole.count(level, place)
            for window in self.windows:
                window.count(level, place)
            self._turn(rule)
        self._judge(rule, now)

    def _turn(self, rule: Rule) -> None:
        """Begin a window where the youngest is half full, and end the oldest where it is full."""
        if self.windows[-1].n >= rule.half:
            self.windows.append(Stretch(number=self.windows[-1].number + 1))
            self.windows = [window for window in self.windows if window.n < 2 * rule.half]

    def _judge(self, rule: Rule, now: str) -> None:
        if self.broken and self.whole.most(self._delta(rule)) <= rule.alpha:
            self.broken = self.broken_at = ""
        if self.broken and not rule.raises:
            return
        for stretch, delta in self._tested(rule):
            if stretch.breaks(rule.alpha, delta):
                return self._breaks(stretch, delta, rule, now)
        return None

    def _delta(self, rule: Rule) -> float:
        return float(rule.delta * 0.5 ** (self.life + 1))

    def _tested(self, rule: Rule) -> Iterator[tuple[Stretch, float]]:
        """Each stretch that is tested, with the chance that it may raise a false alarm."""
        half = self._delta(rule) / 2
        yield self.whole, half
        for window in self.windows:
            yield window, half / (window.number * (window.number + 1))

    def _breaks(self, stretch: Stretch, delta: float, rule: Rule, now: str) -> None:
        over = "since the last change" if stretch is self.whole else "lately"
        self.broken = (
            f"of {stretch.n} audited items {sum(stretch.misses())} {over} got another answer than the expert's: at "
            f"least {stretch.least(delta):.2%} of all, at most {rule.alpha:.2%} are promised"
        )
        self.broken_at = now
        risen = self._risen(stretch, rule)
        if risen is not None:
            before = self.threshold(rule.thresholds[0])
            self.raised.append(Raised(rule.thresholds[risen], before, now, self.broken))
        self.life += 1
        self.whole, self.windows = Stretch(), [Stretch(number=1)]

    def _risen(self, stretch: Stretch, rule: Rule) -> int | None:
        """The place of the first higher threshold at which what was seen would have kept the promise."""
        if not rule.raises:
            return None
        now = self.threshold(rule.thresholds[0]) if rule.thresholds else math.inf
        higher = [place for place, threshold in enumerate(rule.thresholds) if threshold > now]
        return next((place for place in higher if stretch.rate(place + 1) <= rule.alpha), None)

    def threshold(self, published: float) -> float:
        """The threshold in use: the last one that it was raised to, else the one that was published."""
        return self.raised[-1].threshold if self.raised else published

    def verdict(self, rule: Rule) -> Verdict:
        """What is known of the promise now."""
        if self.broken:
            return "broken"
        return "holds" if self.bound(rule) <= rule.alpha else "undecided"

    def bound(self, rule: Rule) -> float:
        """A bound above the mean rate of misses since the last change, at the promise's own confidence or a higher."""
        return self.whole.most(self._delta(rule))

    def window_bound(self, rule: Rule) -> float:
        """The same of the longest window that runs."""
        window = self.windows[0]
        return window.most(self._delta(rule) / (window.number * (window.number + 1)))
