from __future__ import annotations

from typing import Any

import pytest

from optimize.data.cells import labels_of, text_of
from optimize.errors import DataError


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, None),
        (float("nan"), None),
        ("", None),
        (" \n", None),
        (" a ", " a "),
        (7, "7"),
        (True, "True"),
        ("ä".encode(), "ä"),
        ("NA", "NA"),
    ],
)
def test_a_cell_as_a_text(cell: Any, text: str | None) -> None:
    assert text_of(cell, "t.csv:0", "text") == text


@pytest.mark.parametrize(
    ("cell", "says"), [([1, 2], "got a list of 2"), ({"a": 1}, "got an object"), (b"\xff", "got 1 bytes that are not")]
)
def test_a_cell_that_is_no_text_is_refused_by_its_row(cell: Any, says: str) -> None:
    with pytest.raises(DataError, match=f"row 7 of t.csv: 'text' .*{says}"):
        text_of(cell, "t.csv:6", "text")
    with pytest.raises(DataError, match=f"row 7 of t.csv: 'label' .*{says}"):
        labels_of([cell], ["t.csv:6"], "label")


@pytest.mark.parametrize(
    ("cells", "labels", "notes"),
    [
        (["a", None, "b"], ["a", None, "b"], []),
        ([" a", "b ", "b"], ["a", "b", "b"], ["2 labels read without the spaces around"]),
        ([1.0, "1", 2, "2.0"], ["1", "1", "2", "2"], ["the labels are whole numbers, read without the decimal point"]),
        (["1.5", "2.0"], ["1.5", "2.0"], []),
        (["v1.0", "1.0"], ["v1.0", "1.0"], []),
        ([True, "True", False], ["True", "True", "False"], []),
    ],
)
def test_labels_are_named(cells: list[Any], labels: list[str | None], notes: list[str]) -> None:
    assert labels_of(cells, [f"t.csv:{place}" for place in range(len(cells))], "label") == (labels, notes)
