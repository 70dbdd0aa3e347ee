"""What a call takes by its number of items: learned from the calls that ended, for each length of items by itself."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

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
CAUTION = 2.0


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


class Curve:
    """Milliseconds by number of items, up to `largest`: straight lines between knots at 1, 2, 4, 8, …

    A call moves the two knots beside its size. Knots have exponentially weighted means of the time and of its absolute
    deviation (Jacobson, Congestion Avoidance and Control, 1988). Beyond the largest known knot the last line goes on.
    Below the smallest the time grows with the items, so that a size that nobody has tried is rather tried.
    """

    def __init__(self, largest: int) -> None:
        self._sizes = sorted({largest, *(2**power for power in range(largest.bit_length()))} - {0})
        self._largest = largest
        self._knots: dict[int, _Knot] = {}
        self._means: list[float] | None = None
        self._cautious: list[float] | None = None

    @property
    def known(self) -> bool:
        """Whether any call was observed."""
        return bool(self._knots)

    def means(self) -> list[float]:
        """Expected milliseconds of calls with 0, 1, 2, … items [largest + 1]; zeros while nothing is known."""
        if self._means is None:
            self._means = self._line({size: knot.mean_ms for size, knot in self._knots.items()})
        return self._means

    def cautious(self) -> list[float]:
        """The same, with the usual deviation added: most calls take less."""
        if self._cautious is None:
            ends = {size: knot.mean_ms + CAUTION * knot.deviation_ms for size, knot in self._knots.items()}
            self._cautious = list(map(max, self._line(ends), self.means()))
        return self._cautious

    def least_ms(self) -> float:
        """Expected milliseconds for each item, in calls of the size that is the best for that."""
        return min(ms / size for size, ms in enumerate(self.means()) if size)

    def observe(self, size: int, took_ms: float, *, given_up: bool = False) -> None:
        """Learn from a call with `size` items. `given_up`: it would have taken still longer."""
        above = self._sizes[bisect_left(self._sizes, size)]
        below = size if above == size else max(knot for knot in self._sizes if knot < size)
        guesses = {place: self._guess(place, size, took_ms) for place in {below, above} - set(self._knots)}
        self._knots |= {place: _Knot(guess_ms) for place, guess_ms in guesses.items()}
        self._changed()
        expected_ms = self.means()[size]
        share = 1.0 if above == below else (size - below) / (above - below)
        squares = share**2 + (1 - share) ** 2 if above != below else 1.0
        for place, part in {below: 1 - share, above: share}.items():
            error_ms = took_ms - expected_ms
            if place == size and self._knots[place].calls < FIRST_CALLS and not given_up:
                self._knots[place].first(took_ms)
            else:
                self._knots[place].learn(error_ms, part / squares, GIVEN_UP_WEIGHT if given_up else WEIGHT)
        self._relax(below if share < 0.5 else above)
        self._changed()
        for place in (below, above):
            self.clamp(place, most_ms=self._knots[place].mean_ms, up_to=place)
            self.clamp(place, least_ms=self._knots[place].mean_ms, up_to=self._largest)

    def clamp(self, size: int, *, up_to: int, most_ms: float = float("inf"), least_ms: float = 0.0) -> None:
        """Hold knots to what a call of another size or length has shown.

        Those of at most `up_to` items are at most `most_ms`; those from `size` to `up_to` items at least `least_ms`.
        """
        for place, knot in self._knots.items():
            if place <= up_to and (knot.mean_ms > most_ms or (place >= size and knot.mean_ms < least_ms)):
                knot.mean_ms = most_ms if knot.mean_ms > most_ms else least_ms
                self._changed()

    def _guess(self, place: int, size: int, took_ms: float) -> float:
        """The mean of a knot that nobody has seen yet, beside a first call of `size` items."""
        if self._knots:
            return self.means()[place]
        return took_ms * place / size

    def _relax(self, beyond: int) -> None:
        guesses_ms = self._line({size: knot.mean_ms for size, knot in self._knots.items() if size <= beyond})
        for place, knot in self._knots.items():
            if place > beyond:
                knot.mean_ms += RELAXATION * min(0.0, guesses_ms[place] - knot.mean_ms)
                knot.deviation_ms *= 1 - RELAXATION

    def _changed(self) -> None:
        self._means = self._cautious = None

    def _line(self, known: dict[int, float]) -> list[float]:
        """Milliseconds at every size, from those at the knots."""
        if not known:
            return [0.0] * (self._largest + 1)
        known = {0: 0.0, **known}
        sizes = sorted(known)
        line = [0.0]
        for low, high in pairwise(sizes):
            slope = (known[high] - known[low]) / (high - low)
            line += [known[low] + slope * (size - low) for size in range(low + 1, high + 1)]
        last = sizes[-1]
        slope = max(0.0, line[last] - line[last - 1])
        return line + [line[last] + slope * (size - last) for size in range(last + 1, self._largest + 1)]
