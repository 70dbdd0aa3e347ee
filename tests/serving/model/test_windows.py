"""Where the windows over a long text lie, and what becomes of their logits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model.windows import MOST_WINDOWS, groups, length_of, merged, parts, rows_of, starts


@given(st.integers(1, 600), st.integers(1, 20_000), st.integers(2, MOST_WINDOWS))
def test_windows_are_full_and_spread_evenly_from_the_start_to_the_end(room: int, more: int, most: int) -> None:
    tokens = room + more
    found = starts(tokens, room, most)
    assert (found[0], found[-1]) == (0, tokens - room)
    gaps = np.diff(found)
    assert 2 <= len(found) <= most
    assert gaps.max() - gaps.min() <= 1
    if tokens <= most * room:
        assert gaps.max() <= room, "no token is between two windows"
    if len(found) < most:
        assert gaps.max() <= room - room // 4, "neighbours share a quarter"


def test_one_window_is_the_start_of_the_text() -> None:
    windows, missing = parts(range(1, 21), [1, *[0] * 17, 1, 1], 8, most=1)
    assert windows.tolist() == [[1, 2, 3, 4, 5, 6, 19, 20]]
    assert missing


@pytest.mark.parametrize(("own", "missing"), [(6, False), (40, False), (41, True)])
def test_every_window_has_the_tokens_that_the_tokeniser_adds(own: int, missing: bool) -> None:
    ids = [101, *range(own), 102]
    windows, left_out = parts(ids, [1, *[0] * own, 1], 7)
    assert windows.dtype == np.int64
    assert {(row[0], row[-1]) for row in windows.tolist()} == {(101, 102)}
    seen = {token for row in windows.tolist() for token in row[1:-1]}
    assert (seen != set(range(own))) is left_out is missing
    assert windows[-1].tolist() == [101, *range(own - 5, own), 102]


def test_a_text_counts_with_the_tokens_of_all_its_windows() -> None:
    short, windowed, image = np.zeros(5, dtype=np.int64), np.zeros((3, 8), dtype=np.int64), np.zeros((3, 32, 32))
    assert [length_of(item) for item in (short, windowed, image)] == [5, 24, 3]
    assert [rows_of(item) for item in (short, windowed, image)] == [1, 3, 1]


@given(st.lists(st.integers(1, MOST_WINDOWS), max_size=40), st.integers(1, 32))
def test_groups_hold_each_item_once_and_no_more_rows_than_they_may(counts: list[int], most: int) -> None:
    items = [np.zeros((count, 4)) if count > 1 else np.zeros(4) for count in counts]
    found = [items[part] for part in groups(items, most)]
    assert [id(item) for group in found for item in group] == [id(item) for item in items]
    assert all(len(group) == 1 or sum(map(rows_of, group)) <= most for group in found)
    assert all(sum(map(rows_of, [*group, following[0]])) > most for group, following in pairwise(found))


LOGITS = np.array([[1, 0, 0], [9, 1, 1], [0, 2, 0], [3, 0, 1], [0, 0, 5]], dtype=np.float32)
ITEMS = [np.zeros(4), np.zeros((3, 4)), np.zeros(4)]


def test_items_of_one_row_keep_their_logits() -> None:
    assert merged(LOGITS, [np.zeros(4)] * 5, watched=1) is LOGITS


def test_windows_answer_with_the_mean_of_their_logits() -> None:
    got = merged(LOGITS, ITEMS)
    np.testing.assert_allclose(got, [[1, 0, 0], [4, 1, 2 / 3], [0, 0, 5]], rtol=1e-6)
    assert got.dtype == np.float32


def test_with_a_watched_label_the_window_answers_in_which_its_share_is_largest() -> None:
    np.testing.assert_array_equal(merged(LOGITS, ITEMS, watched=1), LOGITS[[0, 2, 4]])
    # The second row has the larger logit of the last label and the smaller share.
    np.testing.assert_array_equal(merged(LOGITS, ITEMS, watched=2), LOGITS[[0, 3, 4]])
