"""Cells with several labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optimize.data.label_sets import label_sets_of, sets_of_matrix
from optimize.errors import DataError


def of(cell: Any, classes: Any = None, separator: str = "|") -> tuple[str, ...]:
    (found,) = label_sets_of([cell], ["a.csv:7"], "tags", separator, classes)
    return found


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("fee|fraud", ("fee", "fraud")),
        (" fee | fraud ", ("fee", "fraud")),
        ("fee", ("fee",)),
        ("fee||fee|", ("fee",)),
        ("", ()),
        ("  ", ()),
        ("[]", ()),
        ('["fee", "fraud"]', ("fee", "fraud")),
        ("['fee', 'fraud']", ("fee", "fraud")),
        ("[urgent]|fee", ("[urgent]", "fee")),
        (["fee", " fraud "], ("fee", "fraud")),
        ([], ()),
        (np.array(["fee", "fraud"], dtype=object), ("fee", "fraud")),
        ([3, 10], ("3", "10")),
    ],
)
def test_a_cell_is_a_list_or_names_with_a_separator(cell: Any, expected: tuple[str, ...]) -> None:
    assert of(cell) == expected


def test_numbers_are_places_in_the_classes_where_there_are_any() -> None:
    assert of([1, 0], classes=("fee", "fraud")) == ("fraud", "fee")


def test_the_separator_is_the_recipes() -> None:
    assert of("fee; fraud|x", separator=";") == ("fee", "fraud|x")


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (3.5, "got a value of type float"),
        ([None], "got a list with something else"),
        ([-1], "got a list with something else"),
        ([2], "got a list with something else"),
    ],
)
def test_another_cell_is_refused_by_its_row(cell: Any, kind: str) -> None:
    with pytest.raises(DataError, match=rf"row 8 of a.csv: 'tags' must be a list of labels, .*{kind}; mend the row"):
        of(cell, classes=("fee", "fraud"))


@pytest.mark.parametrize("cell", [None, float("nan")])
def test_a_row_without_a_cell_has_no_label_set(cell: Any) -> None:
    assert of(cell) is None


def test_a_matrix_has_a_column_for_each_label() -> None:
    matrix = np.array([[1, 0], [0, 0], [1, 1]], dtype=np.uint8)
    assert sets_of_matrix(matrix, ("cat", "dog"), "data x.npz: y") == [("cat",), (), ("cat", "dog")]
    assert sets_of_matrix(matrix, None, "data x.npz: y") == [("0",), (), ("0", "1")]


@pytest.mark.parametrize("matrix", [np.array([0, 1]), np.array([[2, 0]]), np.array([[0, 1, 1]])])
def test_another_matrix_is_refused(matrix: Any) -> None:
    with pytest.raises(DataError, match=r"data x.npz: y must be 0 or 1 \[items, 2 labels\], got int64"):
        sets_of_matrix(matrix, ("cat", "dog"), "data x.npz: y")
