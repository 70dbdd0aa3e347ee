from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.data import token_ids
from optimize.data.token_ids import in_memory, kept
from serving.arrays import Array


def encode(texts: Sequence[Any]) -> list[Array]:
    """A text is its characters; one of more than 4 is windows of 4."""
    items = [np.array([ord(character) for character in text], dtype=np.int64) for text in texts]
    return [item if len(item) <= 4 else np.stack([item[:4], item[-4:]]) for item in items]


@given(st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=9), st.integers(1, 5))
def test_items_are_those_that_the_encoder_gave(texts: list[str], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_ids, "CHUNK", chunk)
        items = in_memory(texts, encode, np.int32)
    assert len(items) == len(texts)
    for item, expected in zip(items, encode(texts), strict=True):
        assert item.dtype == np.int64
        np.testing.assert_array_equal(item, expected)
    assert [len(item) for item in items[1:3]] == [len(item) for item in encode(texts[1:3])]
    np.testing.assert_array_equal(items[-1], encode(texts[-1:])[0])
    assert items.lengths.tolist() == [item.size for item in encode(texts)]
    assert items.rows.tolist() == [2 if len(text) > 4 else 1 for text in texts]
    with pytest.raises(IndexError):
        items[len(texts)]


@pytest.mark.parametrize(("ids_bytes", "shapes_bytes"), [(0, 0), (3, 0), (0, 5), (9, 8), (1000, 0)])
def test_a_stopped_run_goes_on_after_the_last_whole_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids_bytes: int, shapes_bytes: int
) -> None:
    """Also where a machine that lost its power kept less of a file than was written."""
    monkeypatch.setattr(token_ids, "CHUNK", 2)
    texts = ["abc", "abcdef", "a", "abcd", "ef", "fedcba", "b"]
    whole = [item.tolist() for item in kept(texts, encode, np.int64, tmp_path / "whole")]
    seen: list[str] = []

    def interrupted(some: Sequence[Any]) -> list[Array]:
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.extend(some)
        return encode(some)

    with pytest.raises(KeyboardInterrupt):
        kept(texts, interrupted, np.int64, tmp_path / "kept")
    for name, gone in (("ids", ids_bytes), ("shapes", shapes_bytes)):
        path = tmp_path / "kept.partial" / name
        with path.open("r+b") as file:
            file.truncate(max(0, path.stat().st_size - gone))
    again: list[str] = []

    def counting(some: Sequence[Any]) -> list[Array]:
        again.extend(some)
        return encode(some)

    assert [item.tolist() for item in kept(texts, counting, np.int64, tmp_path / "kept")] == whole
    assert again == texts[len(texts) - len(again) :]
    assert again == texts[4:] or ids_bytes or shapes_bytes
    again.clear()
    assert [item.tolist() for item in kept(texts, counting, np.int64, tmp_path / "kept")] == whole
    assert not again, "read, not tokenised again"
