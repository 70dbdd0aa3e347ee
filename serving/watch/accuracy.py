"""How often screen, expert and cascade were right in service, as feedback says, with intervals, and by label."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.watch.answered import UNKNOWN, Answered

Z95 = 1.959963984540054
"""The normal quantile of a two-sided interval at 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of `n` answers were right. The interval is Wilson's (1927) at 95 %."""

    n: int
    right: int
    accuracy: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> Share | None:
        """The share of the answers, [items], that are right; None without answers."""
        if not len(right):
            return None
        n, count = len(right), int(right.sum())
        return cls(n=n, right=count, accuracy=count / n, interval=wilson(count, n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Of the cascade's answers, and of what its stages said; the expert is asked about a part of them only."""

    cascade: Share | None
    screen: Share | None
    expert: Share | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback(Shares):
    """What feedback says of one version of a cascade: over all items, and over those whose right label each one is."""

    by_label: dict[str, Shares]


def wilson(right: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share of `n`, of which `right` are."""
    share, z2 = right / n, z * z
    middle, width = share + z2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, (middle - width) / (1 + z2 / n)), min(1.0, (middle + width) / (1 + z2 / n))


def feedback_of(answered: Iterable[Answered], kind: str, name: str, version: str) -> Feedback:
    """What is known of the answers that this version of a cascade gave."""
    for each in answered:
        if (each.about.kind, each.about.name, each.about.version) == (kind, name, version):
            return _feedback(each)
    return Feedback(cascade=None, screen=None, expert=None, by_label={})


def _feedback(told: Answered) -> Feedback:
    said = {"cascade": told.answer, "screen": told.screen, "expert": told.expert}
    known = {stage: codes != UNKNOWN for stage, codes in said.items()}
    over_all = {stage: Share.of((codes == told.told)[known[stage]]) for stage, codes in said.items()}
    by_label = {}
    for place, label in enumerate(told.about.labels):
        of = _has(told.told, place, sets=told.about.sets)
        shares = {stage: Share.of(_has(said[stage], place, sets=told.about.sets)[of & known[stage]]) for stage in said}
        if shares["cascade"] is not None:
            by_label[label] = Shares(**shares)
    return Feedback(**over_all, by_label=by_label)


def _has(codes: NDArray[np.uint64], place: int, *, sets: bool) -> NDArray[np.bool_]:
    """Whether each label, or label set, is or has the label at a place, [items]."""
    if sets:
        return np.asarray((codes >> np.uint64(place)) & np.uint64(1) == 1)
    return np.asarray(codes == place)
