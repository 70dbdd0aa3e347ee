"""Sequences of rows that do not stand in memory: chosen places of others, ids that are made when asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Lazy(Sequence[Any]):
    """So many items, each made by `item` when it is asked for; a slice is a list."""

    def __init__(self, size: int, item: Callable[[int], Any]) -> None:
        self._size, self._item = size, item

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._item(each) for each in range(self._size)[place]]
        return self._item(range(self._size)[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as lists, which these stand for


def chosen(rows: Sequence[Any], places: NDArray[np.int64]) -> Sequence[Any]:
    """The items of `rows` at `places`: a list of a list, and else looked up when they are asked for."""
    if isinstance(rows, list | tuple):
        return [rows[place] for place in places.tolist()]
    return Lazy(len(places), lambda place: rows[int(places[place])])


def row_ids(parts: Sequence[tuple[str, int]]) -> Sequence[str]:
    """`name:place` for each row of tables, given as (name, rows)."""
    ends = list(accumulate(size for _, size in parts))

    def item(place: int) -> str:
        part = bisect_right(ends, place)
        name, size = parts[part]
        return f"{name}:{place - ends[part] + size}"

    return Lazy(ends[-1] if ends else 0, item)
