"""Which answers are audited: a share of those that the screen was trusted on, whatever they say. Pure.

Whether an item is drawn is decided by random numbers alone, before it is looked at. The share is halved while much of
what is drawn cannot be asked for, and rises again when the expert has time. It is changed by what became of earlier
items only, so it does not depend on the item to come; an item that is drawn at half the share stands for twice as many.
"""

from __future__ import annotations

import math
import random

from serving.audit.betting import WEIGHTS

LOOK_EVERY = 16
"""After so many drawn items the share may change."""
MANY, FEW = 0.5, 0.125
"""Shares of drawn items that were dropped: with more than MANY the share is halved, with fewer than FEW doubled."""


class Share:
    """Draws a share of `full`, or a half or a quarter of it. Without a `seed`, the system gives one."""

    def __init__(self, full: float, seed: int | None = None) -> None:
        self._full, self.level = full, 0
        self._rng = random.Random(seed)  # nosec B311 # no secret
        self._drawn = self._dropped = 0
        self._gap = self._next_gap()

    @property
    def share(self) -> float:
        """The share that is drawn now."""
        return self._full / WEIGHTS[self.level]

    def draws(self) -> bool:
        """Whether the next item is audited."""
        if self._gap:
            self._gap -= 1
            return False
        self._gap = self._next_gap()
        return True

    def became(self, *, dropped: bool) -> None:
        """A drawn item was dropped, or audited."""
        self._drawn += 1
        self._dropped += dropped
        if self._drawn < LOOK_EVERY:
            return
        share, self._drawn, self._dropped = self._dropped / self._drawn, 0, 0
        level = self.level + (share > MANY) - (share < FEW)
        level = min(max(level, 0), len(WEIGHTS) - 1)
        if level != self.level:
            self.level = level
            self._gap = self._next_gap()  # what is left of the old gap is as long as a new one

    def _next_gap(self) -> int:
        """How many items are passed over: a geometric number, so that each item is drawn with the same probability."""
        if self.share >= 1:
            return 0
        return int(math.log(1 - self._rng.random()) / math.log1p(-self.share))
