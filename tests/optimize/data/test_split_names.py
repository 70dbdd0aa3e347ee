from __future__ import annotations

from typing import Any

import pytest

from optimize.data.split_names import divided, split_word


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("train-00000-of-00002.parquet", "train"),
        ("valid.csv", "validation"),
        ("dev_2.jsonl", "validation"),
        ("test1", "test"),
        ("trains", None),
        ("testing-ground", "test"),
        ("part-0.parquet", None),
    ],
)
def test_the_split_that_a_name_begins_with(name: str, word: str | None) -> None:
    assert split_word(name) == word


@pytest.mark.parametrize(
    ("items", "choose", "parts", "says"),
    [
        ({"a": None, "b": None}, "train", (["a", "b"], None), ""),
        ({"a": "train", "b": "train"}, "train", (["a", "b"], None), ""),
        ({"a": "validation", "b": "test"}, "train", (["a", "b"], None), ""),
        ({"a": "train", "b": "validation"}, "train", (["a"], ["b"]), "validation as the holdout"),
        ({"a": "train", "b": "validation", "c": "test"}, "train", (["a", "b"], ["c"]), "validation joins train"),
        ({"a": "train", "b": "validation", "c": "test"}, "holdout", (["a"], ["c", "b"]), "joins the holdout"),
        ({"a": "train", "b": "test", "c": None}, "train", (["a"], ["b"]), "left out: 1 file beside these splits"),
    ],
)
def test_items_are_divided_by_their_splits(items: dict[str, Any], choose: Any, parts: Any, says: str) -> None:
    notes: list[str] = []
    assert divided([(word, name) for name, word in items.items()], to_choose_on=choose, notes=notes) == parts
    assert says in "; ".join(notes)
