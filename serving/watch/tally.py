"""Counting that costs next to nothing while it happens.

An observation of prometheus_client, where several processes share their metrics, takes a lock and writes to a mapped
file: 2 to 4 microseconds, a dozen times a request. Here it is an addition (0.3), and the sums are carried over to
prometheus_client now and then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram


class Tally:
    """Stands before a histogram's child. One thread observes and carries over."""

    __slots__ = ("_bounds", "_child", "_counts", "_sum")

    def __init__(self, child: Histogram) -> None:
        self._child = child
        self._bounds: list[float] = list(child._upper_bounds)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """One value, in the histogram's unit."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def carry_over(self) -> None:
        """Add what was observed since the last time to the histogram.

        Its own way in takes one value at a time, so this uses the fields behind it; a test holds the two equal.
        """
        if not any(self._counts):
            return
        self._child._sum.inc(self._sum)
        for place, count in enumerate(self._counts):
            if count:
                self._child._buckets[place].inc(count)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0


class Tallies:
    """Stands before a histogram with labels: a Tally for each set of values, made when it first comes."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._tallies: dict[tuple[str, ...], Tally] = {}

    def observe(self, value: float, *labels: str) -> None:
        tally = self._tallies.get(labels)
        if tally is None:
            tally = self._tallies[labels] = Tally(self._histogram.labels(*labels))
        tally.observe(value)

    def carry_over(self) -> None:
        for tally in self._tallies.values():
            tally.carry_over()


class Counts:
    """Stands before a counter with labels."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def add(self, *labels: str) -> None:
        """One more with these values."""
        self._counts[labels] += 1

    def carry_over(self) -> None:
        for labels, count in self._counts.items():
            if count:
                self._counter.labels(*labels).inc(count)
                self._counts[labels] = 0
