"""How much of an expert's capacity its runs take up."""

from __future__ import annotations

from collections import defaultdict


class Work:
    """Values runs of an expert by what their items would take in the batches that suit the expert best.

    The time of the runs alone says little of an expert that takes 20 ms for one item and 23 ms for 32, as a GPU does:
    it runs all the time long before it is full. So the time of a run counts as far as its batch is efficient: the least
    time for one item in any batch, over the least in batches of this size. Both are the least that was seen, so that a
    machine that is busy with other work makes a run longer and not its batch less efficient.
    """

    def __init__(self) -> None:
        # Least seconds for one item, by the length of the longest item, rounded up to a power of two (as an exponent),
        # and by the size of the batch.
        self._least_s: defaultdict[int, dict[int, float]] = defaultdict(dict)

    def of(self, size: int, length: int, took_s: float) -> float:
        """Seconds that a run of `size` items, the longest of this `length`, is worth; it took `took_s`."""
        least_s, each_s = self._least_s[(length - 1).bit_length()], took_s / size
        least_s[size] = min(each_s, least_s.get(size, each_s))
        return took_s * min(least_s.values()) / least_s[size]
