"""Which labels a data set has, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from optimize.data.label_names import MIN_PER_LABEL, label_names
from optimize.data.rows import Rows
from optimize.errors import DataError


def rows(*labels: Any, classes: tuple[str, ...] | None = None) -> Rows:
    each = [label for label in labels for _ in range(MIN_PER_LABEL)]
    ids = [f"a.csv:{place}" for place in range(len(each))]
    return Rows("text", ids, each, ids, "a.csv", classes=classes)


def test_labels_come_as_listed_else_as_the_source_has_them_else_sorted_and_numbers_by_value() -> None:
    assert label_names(None, rows("10", "9"), None) == ("9", "10")
    assert label_names(None, rows("b", "a", classes=("b", "a")), None) == ("b", "a")
    assert label_names(("b", "a"), rows("a", "b"), None) == ("b", "a")


def test_each_label_of_a_set_counts_and_an_empty_set_has_none() -> None:
    assert label_names(None, rows(("b", "a"), (), ("c",)), rows(("a",))) == ("a", "b", "c")


@pytest.mark.parametrize("other", ["x", ("a", "x")])
def test_a_row_with_another_label_is_named(other: Any) -> None:
    with pytest.raises(DataError, match=r"a.csv:0: the label 'x' is none of a, b"):
        label_names(("a", "b"), rows("a", "b"), rows(other))


def test_a_label_with_too_few_rows_is_refused() -> None:
    with pytest.raises(DataError, match="two labels with 5 rows each"):
        label_names(("a", "b", "c"), rows("a", "b"), None)
