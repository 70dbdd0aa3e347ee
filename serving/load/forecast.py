"""How long a call to the expert takes, learned from the calls themselves."""

from __future__ import annotations

# The share that a new call has in what is expected: about the last ten count.
WEIGHT = 0.1
# What is never tried is never learned: each time the expert is not asked, it is thought a little faster.
FORGIVENESS = 0.98


class CallTimes:
    """Expected milliseconds of a call, by batch size and length of the longest item; both in steps of doubling.

    Exponentially weighted means of live calls. A shape that was never called is expected to take what the nearest
    smaller one does, or nothing: the first call teaches.
    """

    def __init__(self) -> None:
        self._means: dict[tuple[int, int], float] = {}

    def observe(self, batch_size: int, length: int, took_ms: float) -> None:
        """Take one call into account."""
        key = _key(batch_size, length)
        before = self._means.get(key)
        mean = took_ms if before is None else before + WEIGHT * (took_ms - before)
        self._means[key] = mean
        # Less work takes no longer: what one slow call, the very first say, has taught of smaller shapes is put right.
        for smaller, ms in self._means.items():
            if ms > mean and smaller[0] <= key[0] and smaller[1] <= key[1]:
                self._means[smaller] = mean

    def expected_ms(self, batch_size: int, length: int) -> float:
        """What a call of this shape is expected to take; 0 where nothing like it was ever called."""
        size, longest = _key(batch_size, length)
        known = self._means.get((size, longest))
        if known is not None:
            return known
        return max((ms for key, ms in self._means.items() if key[0] <= size and key[1] <= longest), default=0.0)

    def not_asked(self, batch_size: int, length: int) -> None:
        """The expert was not asked, since this shape is thought to be too slow."""
        self._means[_key(batch_size, length)] = self.expected_ms(batch_size, length) * FORGIVENESS


def _key(batch_size: int, length: int) -> tuple[int, int]:
    """Both rounded up to a power of two, as exponents."""
    return (batch_size - 1).bit_length(), (length - 1).bit_length()
