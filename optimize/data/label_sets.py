"""Cells with several labels: a list, or a text with a separator. An empty one is an item without labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.data.said import row_of
from optimize.data.targets import LabelSet
from optimize.errors import DataError


def label_sets_of(
    cells: Sequence[Any], ids: Sequence[str], column: str, separator: str, classes: Sequence[str] | None = None
) -> list[LabelSet | None]:
    """The label set of each row, without repeated or empty names; None where a row has no cell.

    A cell is a list, a JSON list in a text, or names with the separator between them. A number is the index of one of
    `classes`, where the source has these. Raises DataError, which names the row, for other kinds.
    """
    return [_set_of(cell, row_id, column, separator, classes) for cell, row_id in zip(cells, ids, strict=True)]


def sets_of_matrix(matrix: NDArray[Any], classes: Sequence[str] | None, where: str) -> list[LabelSet]:
    """The label set of each row of a matrix [items, labels] of 0 and 1; without `classes` labels are numbers.

    Raises DataError for a matrix of another kind.
    """
    if matrix.ndim != 2 or not np.isin(matrix, (0, 1)).all() or (classes and len(classes) != matrix.shape[1]):
        wanted = f"{len(classes)} labels" if classes else "labels"
        raise DataError(
            f"{where} must be 0 or 1 [items, {wanted}], got {matrix.dtype} {list(matrix.shape)}; give it a column for "
            'each label, or leave problem = "multi-label" out'
        )
    names = classes or [str(label) for label in range(matrix.shape[1])]
    return [tuple(names[place] for place in np.flatnonzero(row).tolist()) for row in matrix]


def _set_of(cell: Any, row_id: str, column: str, separator: str, classes: Sequence[str] | None) -> LabelSet | None:
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    cell = cell.tolist() if isinstance(cell, np.ndarray) else cell
    if isinstance(cell, str):
        listed = _listed(cell.strip())
        cell = cell.split(separator) if listed is None else listed
    if not isinstance(cell, list | tuple) or not all(_is_name(each, classes) for each in cell):
        raise DataError(
            f"data {row_of(row_id)}: {column!r} must be a list of labels, or a text with {separator!r} between them, "
            f"got {_kind(cell)}; mend the row, with an empty list or text for an item without labels"
        )
    names = [classes[each] if classes and isinstance(each, int) else str(each).strip() for each in cell]
    return tuple(dict.fromkeys(name for name in names if name))


def _listed(text: str) -> list[Any] | None:
    """The list that a text holds as JSON, or as Python prints it; None where it holds none."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for json_text in (text, text.replace("'", '"')):
        try:
            found = json.loads(json_text)
        except ValueError:
            continue
        return found if isinstance(found, list) else None
    return None


def _is_name(value: Any, classes: Sequence[str] | None) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return classes is None or 0 <= value < len(classes)
    return isinstance(value, str)


def _kind(cell: Any) -> str:
    if isinstance(cell, list | tuple):
        return "a list with something else"
    return f"a value of type {type(cell).__name__}"
