"""What a call takes by its number of items: learned from the calls that ended, for each length of items by itself."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Protocol

# Weight of a new call in the mean: about the last ten calls matter.
WEIGHT = 0.1
# The first calls of a size pay for memory and caches, so the least of them counts.
FIRST_CALLS = 3
# A call that was given up took longer than anybody knows, so it weighs more.
GIVEN_UP_WEIGHT = 0.5
# One call moves the mean as if it had taken at most this many times what was expected, and a millisecond more. A
# process that was stopped for seconds says little of its next call.
MOST_TIMES = 4.0
# A size that is avoided as too slow is not measured. So with each call of smaller ones it comes nearer to what they say
# of it: nine tenths of the way in 115 calls.
RELAXATION = 0.02
# A forecast that is to be kept adds this many mean deviations.
CAUTION = 1.5


@dataclass(slots=True)
class _Knot:
    mean_ms: float
    deviation_ms: float = 0.0
    calls: int = 0

    def first(self, took_ms: float) -> None:
        """Learn from one of the first calls."""
        self.mean_ms = min(self.mean_ms, took_ms) if self.calls else took_ms
        self.calls += 1

    def learn(self, error_ms: float, share: float, weight: float) -> None:
        """Learn from a call that took so much longer than expected, of which this knot answers for a share."""
        error_ms = min(error_ms, (MOST_TIMES - 1) * self.mean_ms + 1.0)
        self.mean_ms = max(0.0, self.mean_ms + weight * share * error_ms)
        self.deviation_ms += WEIGHT * min(share, 1.0) * (abs(error_ms) - self.deviation_ms)


class Expected(Protocol):
    """What calls are expected to take, by their number of items."""

    def mean_ms(self, size: int) -> float:
        """Expected milliseconds of a call with `size` items; 0 while nothing is known."""

    def cautious_ms(self, size: int) -> float:
        """The same, with the usual deviation added: most calls take less."""

    def least_ms(self) -> float:
        """Expected milliseconds for each item, in calls of the size that is the best for that."""


@dataclass(frozen=True, slots=True)
class Stretched:
    """What calls take whose items are so many times as long as those of `curve`: as much as calls with as many tokens.

    That is what a GPU takes, beside a cost for the call, which the curve has in it; and a CPU nearly so.
    """

    curve: Curve
    times: int

    def mean_ms(self, size: int) -> float:
        """As `Expected` says."""
        return self.curve.mean_ms(size * self.times)

    def cautious_ms(self, size: int) -> float:
        """As `Expected` says."""
        return self.curve.cautious_ms(size * self.times)

    def least_ms(self) -> float:
        """As `Expected` says."""
        return self.curve.least_ms() * self.times


class Curve:
    """Milliseconds by number of items, up to `largest`: straight lines between knots at 1, 2, 4, 8, …

    A call moves the two knots beside its size. Knots have exponentially weighted means of the time and of its absolute
    deviation (Jacobson, Congestion Avoidance and Control, 1988). Beyond the largest known knot the last line goes on.
    Below the smallest the time grows with the items, so that a size that nobody has tried is rather tried.
    """

    def __init__(self, largest: int) -> None:
        self._sizes = sorted({largest, *(2**power for power in range(largest.bit_length()))} - {0})
        self._knots: dict[int, _Knot] = {}
        self._known: list[int] = []
        self._means: dict[int, float] = {}
        self._cautious: dict[int, float] = {}
        self._least: float | None = None

    def mean_ms(self, size: int) -> float:
        """Expected milliseconds of a call with `size` items; 0 while nothing is known."""
        found = self._means.get(size)
        if found is None:
            found = self._means[size] = self._at(size, 0.0)
        return found

    def cautious_ms(self, size: int) -> float:
        """The same, with the usual deviation added: most calls take less."""
        found = self._cautious.get(size)
        if found is None:
            found = self._cautious[size] = max(self.mean_ms(size), self._at(size, CAUTION))
        return found

    def least_ms(self) -> float:
        """Expected milliseconds for each item, in calls of the size that is the best for that."""
        if self._least is None:
            # On a straight line an end is the best.
            self._least = min(self.mean_ms(size) / size for size in self._sizes)
        return self._least

    def observe(self, size: int, took_ms: float, *, given_up: bool = False) -> None:
        """Learn from a call with `size` items. `given_up`: it would have taken still longer."""
        above = self._sizes[bisect_left(self._sizes, size)]
        below = above if above == size else self._sizes[bisect_left(self._sizes, size) - 1]
        self._make_known(below, above, size, took_ms)
        share = 1.0 if above == below else (size - below) / (above - below)
        squares = share**2 + (1 - share) ** 2 if above != below else 1.0
        error_ms = took_ms - self.mean_ms(size)
        for place, part in {below: 1 - share, above: share}.items():
            knot = self._knots[place]
            if place == size and knot.calls < FIRST_CALLS and not given_up:
                knot.first(took_ms)
            else:
                knot.learn(error_ms, part / squares, GIVEN_UP_WEIGHT if given_up else WEIGHT)
        self._relax(below if share < 0.5 else above)
        self._changed()
        for place in {below, above}:
            self.clamp(place, most_ms=self._knots[place].mean_ms, up_to=place)
            self.clamp(place, least_ms=self._knots[place].mean_ms, up_to=self._sizes[-1])

    def clamp(self, size: int, *, up_to: int, most_ms: float = math.inf, least_ms: float = 0.0) -> None:
        """Hold knots to what a call of another size or length has shown.

        Those of at most `up_to` items are at most `most_ms`; those from `size` to `up_to` items at least `least_ms`.
        """
        for place in self._known:
            knot = self._knots[place]
            if place <= up_to and (knot.mean_ms > most_ms or (place >= size and knot.mean_ms < least_ms)):
                knot.mean_ms = most_ms if knot.mean_ms > most_ms else least_ms
                self._changed()

    def scale(self, share: float) -> None:
        """Make every time this share of what it is."""
        for knot in self._knots.values():
            knot.mean_ms *= share
            knot.deviation_ms *= share
        self._changed()

    def _make_known(self, below: int, above: int, size: int, took_ms: float) -> None:
        """Give the knots beside a call a first mean: from the line, or in proportion where there is none."""
        new = [place for place in (below, above) if place not in self._knots]
        if new:
            means = [self.mean_ms(place) if self._known else took_ms * place / size for place in new]
            self._knots |= {place: _Knot(mean_ms) for place, mean_ms in zip(new, means, strict=True)}
            self._known = sorted(self._knots)
            self._changed()

    def _relax(self, beyond: int) -> None:
        place = bisect_left(self._known, beyond)
        if place == len(self._known) - 1:
            return
        from_ms, slope = self._knots[beyond].mean_ms, self._slope(place, 0.0)
        for larger in self._known[place + 1 :]:
            knot = self._knots[larger]
            knot.mean_ms += RELAXATION * min(0.0, from_ms + slope * (larger - beyond) - knot.mean_ms)
            knot.deviation_ms *= 1 - RELAXATION

    def _changed(self) -> None:
        self._means.clear()
        self._cautious.clear()
        self._least = None

    def _at(self, size: int, caution: float) -> float:
        """Milliseconds of a call with `size` items, and `caution` deviations more."""
        if not self._known:
            return 0.0
        place = min(bisect_left(self._known, size), len(self._known) - 1)
        end = self._known[place]
        return self._end(end, caution) + self._slope(place, caution) * (size - end)

    def _slope(self, place: int, caution: float) -> float:
        """Milliseconds for each item, on the line that ends at a known knot."""
        end, start = self._known[place], self._known[place - 1] if place else 0
        start_ms = self._end(start, caution) if start else 0.0
        return max(0.0, self._end(end, caution) - start_ms) / (end - start)

    def _end(self, size: int, caution: float) -> float:
        knot = self._knots[size]
        return knot.mean_ms + caution * knot.deviation_ms
