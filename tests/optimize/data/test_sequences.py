from __future__ import annotations

import numpy as np
import pytest

from optimize.data.sequences import Lazy, chosen, row_ids


def test_ids_are_places_in_each_table() -> None:
    ids = row_ids([("a.csv", 2), ("empty.csv", 0), ("b.csv", 3)])
    assert ids == ["a.csv:0", "a.csv:1", "b.csv:0", "b.csv:1", "b.csv:2"]
    assert (len(ids), ids[-1], ids[1:3]) == (5, "b.csv:2", ["a.csv:1", "b.csv:0"])
    assert len(row_ids([])) == 0
    with pytest.raises(IndexError):
        ids[5]


def test_chosen_rows_of_a_list_are_a_list_and_others_are_looked_up() -> None:
    places = np.array([3, 0])
    assert chosen(["a", "b", "c", "d"], places) == ["d", "a"]
    asked: list[int] = []
    rows = Lazy(4, lambda place: asked.append(place) or "abcd"[place])
    found = chosen(rows, places)
    assert (len(found), asked) == (2, [])
    assert list(chosen(found, np.array([1]))) == ["a"]
    assert asked == [0]
