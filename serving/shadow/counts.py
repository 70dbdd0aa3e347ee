"""What comparisons of a shadow with the served cascade have counted, and what it says. Pure: sums that add up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from serving.shadow.evidence import Interval, interval, share

DELTA = 0.05
NORMAL = 1.96
"""Standard errors on both sides of a mean that hold 95 % of a normal law."""

Outcome = Literal["same", "better", "worse", "neither", "failed", "unsettled", "dropped", "waiting"]
ENDED: tuple[Outcome, ...] = ("same", "better", "worse", "neither", "failed", "unsettled", "dropped")
OUTCOMES: tuple[Outcome, ...] = (*ENDED, "waiting")
"""What became of a drawn item.

`same`: both gave one answer. Else the served cascade's expert was asked who is right: the shadow (`better`), the served
cascade (`worse`), or none of the two (`neither`). `failed`: the shadow gave no full answer. `unsettled`: the expert
could not be asked. `dropped`: the shadow was not asked. `waiting`: it is in hand, and may end either way. What stays in
hand is what an expert is asked about: were it left out, a process whose expert never answers would tell of what agreed
alone. So bounds take it for the worst below, and for the best above.
"""
Verdict = Literal["no worse", "worse", "undecided"]


@dataclass(slots=True)
class Paired:
    """Milliseconds of the same items in both cascades."""

    n: int = 0
    served: float = 0.0
    shadow: float = 0.0
    squares: float = 0.0
    """Of the differences."""

    def add(self, served_ms: float, shadow_ms: float) -> None:
        """Take in one item."""
        self.n += 1
        self.served += served_ms
        self.shadow += shadow_ms
        self.squares += (shadow_ms - served_ms) ** 2

    def plus(self, other: Paired, times: int) -> Paired:
        """These sums and so many `times` the others."""
        return Paired(
            n=self.n + times * other.n,
            served=self.served + times * other.served,
            shadow=self.shadow + times * other.shadow,
            squares=self.squares + times * other.squares,
        )


@dataclass(slots=True)
class Counts:
    """Sums over drawn items. `only_served` and `only_shadow` count who alone asked its expert, `both` and `none`."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    both: int = 0
    none: int = 0
    only_served: int = 0
    only_shadow: int = 0
    took_ms: Paired = field(default_factory=Paired)
    model_ms: Paired = field(default_factory=Paired)

    def escalations(self, *, served: bool, shadow: bool) -> None:
        """Take in who asked its expert about an item."""
        if served and shadow:
            self.both += 1
        elif served:
            self.only_served += 1
        elif shadow:
            self.only_shadow += 1
        else:
            self.none += 1

    def plus(self, other: Counts, times: int = 1) -> Counts:
        """These sums and so many `times` the others."""
        return Counts(
            outcomes={name: self.outcomes[name] + times * other.outcomes[name] for name in OUTCOMES},
            both=self.both + times * other.both,
            none=self.none + times * other.none,
            only_served=self.only_served + times * other.only_served,
            only_shadow=self.only_shadow + times * other.only_shadow,
            took_ms=self.took_ms.plus(other.took_ms, times),
            model_ms=self.model_ms.plus(other.model_ms, times),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Mean milliseconds of `n` items in both, and of the difference with its 95 % interval at this moment."""

    n: int
    served: float | None = None
    shadow: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, paired: Paired) -> Means:
        """What the sums say; the central limit theorem wants 30 items."""
        if not paired.n:
            return cls(n=0)
        served, shadow = paired.served / paired.n, paired.shadow / paired.n
        difference = shadow - served
        spread = math.sqrt(max(0.0, paired.squares / paired.n - difference**2) / paired.n)
        ends = (difference - NORMAL * spread, difference + NORMAL * spread) if paired.n >= 30 else (None, None)
        return cls(n=paired.n, served=served, shadow=shadow, difference=difference, low=ends[0], high=ends[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is known of a shadow. Shares lie between 0 and 1. Intervals hold at every moment, but for those of times.

    `agreement`: items with the same label. `difference`: items that the shadow answers as the served expert does and
    the served cascade does not, less those the other way round. What failed or is unsettled counts against the shadow.
    Means are without what waits, intervals hold however it ends.
    `escalation_difference`: items about which it alone asks its expert, less those about which the other alone does.
    `took_ms`: from the content to the label. `model_ms`: in models, which is what an item costs. `verdict`: whether the
    whole interval of the difference is above -`margin`, or below it.
    """

    items: int
    outcomes: dict[Outcome, int]
    agreement: Interval
    difference: Interval
    escalation_served: float | None
    escalation_shadow: float | None
    escalation_difference: Interval
    took_ms: Means
    model_ms: Means
    margin: float
    verdict: Verdict

    @classmethod
    def of(cls, counts: Counts, margin: float) -> Compared:
        """What the sums say."""
        of = counts.outcomes
        waiting = of["waiting"]
        items = sum(of.values()) - of["dropped"] - waiting
        against = of["worse"] + of["failed"] + of["unsettled"]
        equal = items - of["better"] - against
        difference = _whatever(
            interval(of["better"], equal, against, DELTA),
            worst=interval(of["better"], equal, against + waiting, DELTA),
            best=interval(of["better"] + waiting, equal, against, DELTA),
        )
        others = items - of["same"]
        agrees = _whatever(
            share(of["same"], others, DELTA),
            worst=share(of["same"], others + waiting, DELTA),
            best=share(of["same"] + waiting, others, DELTA),
        )
        alike = counts.both + counts.none
        escalated = _whatever(
            interval(counts.only_shadow, alike, counts.only_served, DELTA),
            worst=interval(counts.only_shadow, alike, counts.only_served + waiting, DELTA),
            best=interval(counts.only_shadow + waiting, alike, counts.only_served, DELTA),
        )
        asked = counts.both + counts.none + counts.only_served + counts.only_shadow
        return cls(
            items=items,
            outcomes=dict(of),
            agreement=agrees,
            difference=difference,
            escalation_served=(counts.both + counts.only_served) / asked if asked else None,
            escalation_shadow=(counts.both + counts.only_shadow) / asked if asked else None,
            escalation_difference=escalated,
            took_ms=Means.of(counts.took_ms),
            model_ms=Means.of(counts.model_ms),
            margin=margin,
            verdict="no worse" if difference.low > -margin else "worse" if difference.high < -margin else "undecided",
        )


def _whatever(ended: Interval, *, worst: Interval, best: Interval) -> Interval:
    """The interval that holds however the items in hand end."""
    return Interval(ended.mean, worst.low, best.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described(Compared):
    """What /models says of a shadow: which it is, of what, how large a share it sees, and how it compares.

    `broker`: whether that of the setting `audit_url`, which takes items to its expert, can be reached; null without.
    """

    name: str
    version: str
    models: dict[Literal["screen", "expert"], str]
    served: str | None
    served_version: str | None
    share: float
    broker: Literal["connected", "away"] | None
