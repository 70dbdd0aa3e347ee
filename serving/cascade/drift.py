"""Drift: do the items in service still look like those that the operating point was chosen on?

The screen's confidences and the escalation share of the last items are compared with those of the selection set. The
measure is the population stability index, sum((p - q) x ln(p / q)) over bins, a symmetric form of the Kullback-Leibler
divergence (Lewis 1994).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.cascade.deferral import OperatingPoint

# Half an item is added to every bin, so that an empty one does not make the index infinite.
SMOOTHING = 0.5
TELL_EVERY = 50


@dataclass(frozen=True, slots=True)
class Drift:
    """What the last `n` items look like. `drifted` is None while there are too few of them; `reasons` are sentences."""

    n: int
    psi: float
    escalation_share: float
    drifted: bool | None
    reasons: tuple[str, ...]


class DriftMonitor:
    """Keeps the last items of one screen, in constant time for each. One event loop uses it.

    `tell` is given the state at the start and after every `TELL_EVERY` items.
    """

    def __init__(self, point: OperatingPoint, tell: Callable[[Drift], None] | None = None) -> None:
        self._point = point
        self._tell = tell
        self._observed = 0
        self._counts = [0] * len(point.reference.shares)
        self._deferred = 0
        self._seen: deque[tuple[int, bool]] = deque()
        self.tell()

    def tell(self) -> None:
        """Report the state to the function that it is given."""
        if self._tell is not None:
            self._tell(self.state())

    def observe(self, confidence: float, deferred: bool) -> None:
        """Add a screened item, and forget the oldest one beyond the window."""
        place = bisect_right(self._point.reference.edges, confidence)
        self._seen.append((place, deferred))
        self._counts[place] += 1
        self._deferred += deferred
        if len(self._seen) > self._point.band.window:
            old_place, old_deferred = self._seen.popleft()
            self._counts[old_place] -= 1
            self._deferred -= old_deferred
        self._observed += 1
        if self._observed % TELL_EVERY == 0:
            self.tell()

    def state(self) -> Drift:
        """The figures now, and whether they have left the operating point's band."""
        band, n = self._point.band, len(self._seen)
        psi = stability_index(self._point.reference.shares, self._counts)
        share = self._deferred / n if n else 0.0
        if n < band.min_n:
            return Drift(n, psi, share, None, ())
        reasons = []
        if psi > band.max_psi:
            reasons.append(f"the screen's confidences have shifted: index {psi:.3f}, at most {band.max_psi} expected")
        if not band.lowest_escalation_share <= share <= band.highest_escalation_share:
            reasons.append(
                f"{share:.1%} of the items escalate, {band.lowest_escalation_share:.1%} to "
                f"{band.highest_escalation_share:.1%} expected"
            )
        return Drift(n, psi, share, bool(reasons), tuple(reasons))


def stability_index(expected: Sequence[float], counts: Sequence[int]) -> float:
    """Population stability index of `counts` against the `expected` shares, bin by bin; 0 without any counts."""
    n, bins = sum(counts), len(counts)
    if n == 0:
        return 0.0
    index = 0.0
    for share, count in zip(expected, counts, strict=True):
        p = (share * n + SMOOTHING) / (n + SMOOTHING * bins)
        q = (count + SMOOTHING) / (n + SMOOTHING * bins)
        index += (q - p) * math.log(q / p)
    return index
