"""How much of an expert's capacity its runs take up."""

from __future__ import annotations


class Work:
    """Values runs of an expert by what their items would take in the batches that suit the expert best.

    The time of the runs alone says little of an expert that takes 20 ms for one item and 23 ms for 32, as a GPU does:
    it runs all the time long before it is full. An item is worth the least time for one item that was seen in any
    batch. For an expert that gains nothing from batches that is the time of its runs.
    """

    def __init__(self) -> None:
        # Least seconds for one item, by the length of the longest item, rounded up to a power of two (as an exponent).
        self._least_s: dict[int, float] = {}

    def of(self, size: int, length: int, took_s: float) -> float:
        """Seconds that a run of `size` items, the longest of this `length`, is worth; it took `took_s`."""
        shape, each_s = (length - 1).bit_length(), took_s / size
        least_s = min(each_s, self._least_s.get(shape, each_s))
        self._least_s[shape] = least_s
        return size * least_s
