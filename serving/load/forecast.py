"""When a call to the expert would end: learned from the calls before it and from what waits.

Pure: the caller passes the time, in seconds of one monotonic clock, and the state of its queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

# Weight of a new call in the mean of its shape: about the last ten calls matter.
WEIGHT = 0.1
# A shape that is refused as too slow is never measured again. So each refusal makes its estimate a little smaller,
# until a call is tried.
FORGIVENESS = 0.98


@dataclass(frozen=True, slots=True)
class Waiting:
    """An escalation in the queue: its number of items, the length of the longest, and its deadline."""

    size: int
    length: int
    deadline_s: float


class Forecast:
    """Expected times of calls to one expert that takes `max_batch_size` items and `calls_in_flight` calls at once.

    The shape of a call is its number of items and the length of the longest (tokens of a text). Shapes are rounded up
    to powers of two, and each has an exponentially weighted mean. `window_s`: how long a new escalation waits for
    others before it is sent.
    """

    def __init__(self, *, max_batch_size: int, calls_in_flight: int, window_s: float = 0.0) -> None:
        self.max_batch_size = max_batch_size
        self._calls_in_flight, self._window_s = calls_in_flight, window_s
        self._means_ms: dict[tuple[int, int], float] = {}

    def observe(self, size: int, length: int, took_ms: float) -> None:
        """Learn from a call that ended well."""
        shape = _shape(size, length)
        before = self._means_ms.get(shape)
        mean = took_ms if before is None else before + WEIGHT * (took_ms - before)
        self._means_ms[shape] = mean
        # Smaller shapes cannot be slower, so clamp their estimates.
        for smaller, ms in self._means_ms.items():
            if ms > mean and smaller[0] <= shape[0] and smaller[1] <= shape[1]:
                self._means_ms[smaller] = mean

    def refused(self, size: int, length: int) -> None:
        """Forgive a shape whose call was refused as too slow."""
        self._means_ms[_shape(size, length)] = self.expected_ms(size, length) * FORGIVENESS

    def expected_ms(self, size: int, length: int) -> float:
        """What a call takes, from its start to its answer.

        A shape without calls of its own takes as long as the slowest smaller one; 0 where that has none either.
        """
        shape = _shape(size, length)
        known = self._means_ms.get(shape)
        if known is not None:
            return known
        smaller = (ms for key, ms in self._means_ms.items() if key[0] <= shape[0] and key[1] <= shape[1])
        return max(smaller, default=0.0)

    def expected_end_s(
        self, now_s: float, size: int, length: int, waiting: Iterable[Waiting], ends_s: Collection[float]
    ) -> float:
        """When a new escalation would have its answer: a running call ends, those ahead go, then it goes itself.

        `waiting`: the escalations ahead of it. `ends_s`: when each running call is expected to end.
        """
        free_s = now_s if len(ends_s) < self._calls_in_flight else max(now_s, min(ends_s))
        ahead = sum(other.size for other in waiting)
        calls_ahead, beside = divmod(ahead, self.max_batch_size)
        ahead_ms = calls_ahead * self.expected_ms(self.max_batch_size, length)
        own_ms = self.expected_ms(min(self.max_batch_size, beside + size), length)
        return free_s + self._window_s + (ahead_ms + own_ms) / 1e3


def _shape(size: int, length: int) -> tuple[int, int]:
    """Both rounded up to a power of two, as exponents."""
    return (size - 1).bit_length(), (length - 1).bit_length()
