from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimize.data.readers import read_rows
from optimize.errors import DataError
from optimize.start.source import source_of
from tests.optimize.start.brought import ROWS, images, texts, write_csv


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("csv", {"source": "files", "text_column": "review", "label_column": "category"}),
        ("semicolon", {"source": "files", "text_column": "bewertung", "label_column": "sorte"}),
        ("jsonl", {"source": "files", "text_column": "review", "label_column": "category"}),
        ("parquet", {"source": "files", "text_column": "review", "label_column": "category"}),
        ("parts", {"source": "files", "text_column": "review", "label_column": "category"}),
        ("lines", {"source": "files", "labels": "teacher"}),
        ("several", {"source": "files", "text_column": "text", "label_column": "labels", "problem": "multi-label"}),
        (
            "columns",
            {
                "source": "files",
                "text_column": "comment_text",
                "label_columns": ["a", "b", "c"],
                "problem": "multi-label",
            },
        ),
        ("one of columns", {"source": "files", "text_column": "comment_text", "label_columns": ["a", "b", "c"]}),
        (
            "pairs",
            {"source": "files", "text_column": "premise", "text_pair_column": "hypothesis", "label_column": "label"},
        ),
    ],
)
def test_the_kind_and_the_columns_of_texts_are_found(kind: str, table: dict[str, Any], tmp_path: Path) -> None:
    path = texts(kind, tmp_path)
    assert dict(source_of(path).table) == {**table, "train": str(path)}


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("folder", {"source": "folder"}),
        ("zip", {"source": "folder"}),
        ("flat", {"source": "folder", "labels": "teacher"}),
        ("npz", {"source": "npz", "train_keys": ["x_train", "y_train"], "holdout_keys": [], "classes_key": ""}),
    ],
)
def test_images_are_found(kind: str, table: dict[str, Any], tmp_path: Path) -> None:
    path = images(kind, tmp_path, 12)
    assert dict(source_of(path).table) == {**table, "path" if kind == "npz" else "train": str(path)}


def test_a_wrong_guess_is_mended_by_a_word(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "rows.csv", ("text", "summary", "label"), [("long", "short", "a"), ("other", "s", "b")] * 9
    )
    assert source_of(path, text_column="summary").table["text_column"] == "summary"
    with pytest.raises(DataError, match=r"rows.csv has no column 'sumary'; it has text, summary, label$"):
        source_of(path, text_column="sumary")


def test_what_was_guessed_is_said_without_a_text(tmp_path: Path) -> None:
    notes = source_of(texts("semicolon", tmp_path)).notes
    assert notes == (
        "text_column = 'bewertung' (guessed by what it holds)",
        "label_column = 'sorte' (guessed by what it holds)",
    )


def test_columns_of_labels_are_said(tmp_path: Path) -> None:
    path = texts("columns", tmp_path)
    assert source_of(path).notes == (
        "text_column = 'comment_text' (guessed by what it holds)",
        "label_columns = a, b, c (guessed by the 0 and 1 in them): a column for each label, several labels a row",
    )
    named = source_of(path, label_columns=("c", "a"))
    assert named.table["label_columns"] == ["c", "a"]
    assert "label_columns = c, a (as named): a column for each label, several labels a row" in named.notes
    assert source_of(path, label_columns=("b",)).table["label_column"] == "b"
    one = source_of(texts("one of columns", tmp_path))
    assert one.notes[-1].endswith("a column for each label, one label a row")
    with pytest.raises(DataError, match=r"has no column 'd'; it has comment_text, a, b, c$"):
        source_of(path, label_columns=("a", "d"))


def test_the_table_reads_all_rows(tmp_path: Path) -> None:
    source = source_of(texts("semicolon", tmp_path))
    train, holdout = read_rows(source.config, root=Path(), seed=0)
    assert (len(train.ids), holdout) == (ROWS, None)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "nowhere.csv", "there is no such file or folder; write the path as it is seen from"),
        (lambda folder: folder, "has neither images nor tables in it; name the file or folder that has"),
        (lambda folder: write_csv(folder / "n.csv", ("a", "b"), [(1, 2), (3, 4)]), "has no column of texts"),
    ],
    ids=["missing", "empty", "numbers"],
)
def test_what_is_no_data_is_refused(make: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        source_of(make(tmp_path))
