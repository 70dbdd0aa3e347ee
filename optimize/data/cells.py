"""The cells of a table as texts and as names of labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from optimize.data.said import counted, row_of
from optimize.errors import DataError

NUMBER = re.compile(r"[+-]?\d+(\.0*)?")


def text_of(cell: Any, row_id: str, column: str) -> str | None:
    """A cell as a text; None where it is empty. Raises DataError for lists, objects and bytes that are no text."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, bytes):
        cell = _decoded(cell, row_id, column)
    if isinstance(cell, list | tuple | dict | set):
        raise DataError(
            f"data {row_of(row_id)}: {column!r} must be a text or a number, got {_kind(cell)}; give each row one value"
        )
    text = str(cell)
    return text if text.strip() else None


def texts_of(cells: Sequence[Any], ids: Sequence[str], column: str) -> list[str | None]:
    """The text of each cell, None where there is none; see `text_of`."""
    return [text_of(cell, row_id, column) for cell, row_id in zip(cells, ids, strict=True)]


def labels_of(cells: Sequence[Any], ids: Sequence[str], column: str) -> tuple[list[str | None], list[str]]:
    """The name of each row's label, None where it is missing, and a sentence for each thing that was put right.

    Raises DataError for lists and objects.
    """
    notes = []
    labels = [_label_of(cell, row_id, column) for cell, row_id in zip(cells, ids, strict=True)]
    spaced = sum(label != label.strip() for label in labels if label is not None)
    if spaced:
        notes.append(f"{counted(spaced, 'label')} read without the spaces around")
        labels = [label and label.strip() for label in labels]
    there = {label for label in labels if label is not None}
    # 1.0 beside 1.5 is a number of its own kind; where all are whole, 1.0 and 1 are one label.
    if any("." in label for label in there) and all(NUMBER.fullmatch(label) for label in there):
        notes.append("the labels are whole numbers, read without the decimal point")
        labels = [label and label.partition(".")[0] for label in labels]
    return labels, notes


def _label_of(cell: Any, row_id: str, column: str) -> str | None:
    if isinstance(cell, list | tuple | dict | set):
        raise DataError(
            f"data {row_of(row_id)}: {column!r} must be one label, got {_kind(cell)}; give each row one label"
        )
    return text_of(cell, row_id, column)


def _kind(cell: Any) -> str:
    return "an object" if isinstance(cell, dict) else f"a list of {len(cell)}"


def _decoded(cell: bytes, row_id: str, column: str) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        raise DataError(
            f"data {row_of(row_id)}: {column!r} must be a text, got {len(cell):,} bytes that are not UTF-8; if they "
            "are images, name the column as image_column"
        ) from None
