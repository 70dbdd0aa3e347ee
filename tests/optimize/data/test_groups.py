from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimize.data.groups import contradicting, distinct, first_rows, grouped, key_of

rows = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", frozenset("xy")])))


@given(rows)
def test_groups_are_those_of_a_dictionary(rows: list[tuple[str, object]]) -> None:
    places: dict[str, list[int]] = defaultdict(list)
    for place, (content, _) in enumerate(rows):
        places[content].append(place)
    groups = grouped(np.array([key_of(content.encode()) for content, _ in rows], dtype=np.uint64))
    assert [np.flatnonzero(groups == number).tolist() for number in range(len(places))] == list(places.values())
    assert first_rows(groups).tolist() == [group[0] for group in places.values()]
    mixed = {place for group in places.values() if len({rows[i][1] for i in group}) > 1 for place in group}
    assert set(np.flatnonzero(contradicting(groups, [answer for _, answer in rows]))) == mixed


@given(st.lists(st.integers(0, 9)))
def test_distinct_keys_are_in_order(keys: list[int]) -> None:
    assert distinct(np.array(keys, dtype=np.uint64)).tolist() == sorted(set(keys))
