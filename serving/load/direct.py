"""Which work is short enough for an event loop. Pure.

While the loop works, it sees nobody. A thread costs about a tenth of a millisecond, so short work stays on the loop.
"""

from __future__ import annotations

LONGEST_MS = 2.0
# Weight of a new observation.
WEIGHT = 0.1
# One of so many pieces of work is timed. The processor time of a thread is a question to the kernel.
TIMED_ONE_OF = 8


class DirectWork:
    """Learns how much processor time work of one kind takes, by its units."""

    def __init__(self) -> None:
        self._by_size_ms: dict[int, float] = {}
        self._unit_ms = 0.0
        self._untimed = 0

    def times(self, units: int) -> bool:
        """Whether work of so many units is to be timed: what is not known yet, and now and then what is."""
        if self._untimed < TIMED_ONE_OF - 1 and units.bit_length() in self._by_size_ms:
            self._untimed += 1
            return False
        self._untimed = 0
        return True

    def fits(self, units: int) -> bool:
        """Whether work of so many units is expected to take at most LONGEST_MS."""
        known_ms = self._by_size_ms.get(units.bit_length())
        return (known_ms if known_ms is not None else units * self._unit_ms) <= LONGEST_MS

    def took(self, units: int, ms: float) -> None:
        """Learn from work of so many units. Sizes within a power of two are taken together."""
        size = units.bit_length()
        known_ms = self._by_size_ms.get(size)
        self._by_size_ms[size] = ms if known_ms is None else known_ms + WEIGHT * (ms - known_ms)
        if units:
            unit_ms = ms / units
            self._unit_ms += (WEIGHT if self._unit_ms else 1.0) * (unit_ms - self._unit_ms)
