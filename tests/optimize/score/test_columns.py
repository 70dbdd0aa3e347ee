from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest

from optimize.errors import DataError
from optimize.score.columns import MISSING, AnswerColumns, images_of, require_columns, require_free, texts_of
from optimize.score.scorer import ImageBytes, Scored, Unusable
from serving.errors import InvalidInputError
from serving.model.answer import Answer
from serving.model.text import MAX_CHARACTERS, TextPair, check_text


def test_texts_numbers_and_what_is_neither() -> None:
    long = "x" * (MAX_CHARACTERS + 1)
    table = pyarrow.table({"body": ["hello", "", None, long, "faulty"]})
    contents = texts_of(["body"])(table, {4: "more columns than the header's 1"})
    with pytest.raises(InvalidInputError) as refused:
        check_text(long, "body")
    assert contents == [
        "hello",
        Unusable(f"body: {MISSING}"),
        Unusable(f"body: {MISSING}"),
        Unusable(str(refused.value)),
        Unusable("more columns than the header's 1"),
    ]
    assert texts_of(["n"])(pyarrow.table({"n": [7, 8]}), {}) == ["7", "8"]
    (listed,) = texts_of(["n"])(pyarrow.table({"n": [["a", "b"]]}), {})
    assert isinstance(listed, Unusable)
    assert listed.error.startswith("n: must be a text or a number")


def test_pairs_need_both_texts() -> None:
    table = pyarrow.table({"a": ["one", "one", None], "b": ["two", "", "two"]})
    assert texts_of(["a", "b"])(table, {}) == [
        TextPair("one", "two"),
        Unusable(f"b: {MISSING}"),
        Unusable(f"a: {MISSING}"),
    ]


def test_images_are_bytes_or_paths_from_the_tables_folder(tmp_path: Path) -> None:
    cells = [{"bytes": b"file", "path": None}, {"bytes": None, "path": "a.png"}, None]
    assert images_of("image", tmp_path)(pyarrow.table({"image": cells}), {}) == [
        ImageBytes("image", b"file"),
        ImageBytes("image", tmp_path / "a.png"),
        Unusable(f"image: {MISSING}"),
    ]
    assert images_of("image", tmp_path)(pyarrow.table({"image": [" b.png ", ""]}), {}) == [
        ImageBytes("image", tmp_path / "b.png"),
        Unusable(f"image: {MISSING}"),
    ]
    (number,) = images_of("image", tmp_path)(pyarrow.table({"image": [3]}), {})
    assert number == Unusable("image: must be an image's bytes or the path of its file, got int")


def test_missing_and_double_columns_are_named_with_the_remedy() -> None:
    require_columns(["id", "text"], ["text"], "text", "rows.csv")
    with pytest.raises(DataError, match=r"no column 'text'; it has id, texts: give --text-column texts"):
        require_columns(["id", "texts"], ["text"], "text", "rows.csv")
    with pytest.raises(DataError, match=r"no column 'b'; it has a, c: give its name with --text-pair-column"):
        require_columns(["a", "c"], ["a", "b"], "text", "rows.csv")
    with pytest.raises(DataError, match="give its name with --image-column"):
        require_columns(["text"], ["image"], "image", "rows.csv")
    with pytest.raises(DataError, match=r"two columns with one name \(a\)"):
        require_columns(["a", "a", "text"], ["text"], "text", "rows.csv")


def test_columns_with_the_names_of_answers_are_refused() -> None:
    answers = AnswerColumns(field="label", labels=("a", "b"))
    with pytest.raises(DataError, match=r"names of answers \(label\); .* --prefix predicted_"):
        require_free(["text", "label"], answers.schema.names, "rows.csv")
    prefixed = AnswerColumns(field="label", labels=("a", "b"), prefix="predicted_")
    require_free(["text", "label"], prefixed.schema.names, "rows.csv")


def test_answers_stand_behind_the_columns_of_the_input() -> None:
    answer = Answer(label="b", confidence=0.75, margin=0.5, scores=(0.25, 0.75))
    scored = [Scored(answer, "expert", True, truncated=True), Scored(None, None, None, "text: empty")]
    table = AnswerColumns(field="label", labels=("a", "b"), scores=True).beside(pyarrow.table({"id": [1, 2]}), scored)
    assert table.to_pylist() == [
        {
            "id": 1,
            "label": "b",
            "confidence": 0.75,
            "stage": "expert",
            "escalated": True,
            "truncated": True,
            "scores": {"a": 0.25, "b": 0.75},
            "error": None,
        },
        {
            "id": 2,
            **dict.fromkeys(("label", "confidence", "stage", "escalated", "truncated", "scores")),
            "error": "text: empty",
        },
    ]


def test_label_sets_are_lists() -> None:
    sets = [Answer(label=labels, confidence=0.9, margin=0.8, scores=(0.9, 0.9)) for labels in ((), ("a", "b"))]
    columns = AnswerColumns(field="labels", labels=("a", "b"))
    table = columns.beside(pyarrow.table({"id": [1, 2]}), [Scored(answer, "screen", False) for answer in sets])
    assert table["labels"].to_pylist() == [[], ["a", "b"]]
