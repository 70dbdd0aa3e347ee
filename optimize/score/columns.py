"""Columns of a table as the cascade's inputs, and its answers as columns beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from optimize.data.cells import text_of
from optimize.data.said import columns as said_columns
from optimize.data.said import nearest, some
from optimize.errors import DataError
from optimize.score.scorer import Content, ImageBytes, Scored, Scorer, Unusable
from serving.errors import InvalidInputError
from serving.model.pairs import check_pair
from serving.model.text import check_text

MISSING = "must be there, got an empty cell"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring rows of the input. `faults`: why rows could not be read, by place; `steps` of the progress."""

    table: pyarrow.Table
    faults: Mapping[int, str]
    steps: int


def require_columns(names: Sequence[str], wanted: Sequence[str], kind: str, source: str) -> None:
    """Raise DataError unless a table has the columns that a cascade reads."""
    if len(set(names)) < len(names):
        twice = some(sorted({name for name in names if names.count(name) > 1}))
        raise DataError(f"data {source} has two columns with one name ({twice}); rename one of them")
    options = ("--image-column",) if kind == "image" else ("--text-column", "--text-pair-column")
    for option, name in zip(options, wanted, strict=False):
        if name not in names:
            close = nearest(name, names)
            remedy = f"{option} {close}" if close else f"its name with {option}"
            raise DataError(f"data {source} has no column {name!r}; it has {said_columns(names)}: give {remedy}")


def require_free(names: Sequence[str], answers: Sequence[str], source: str) -> None:
    """Raise DataError if columns of the input would have the names of columns of answers."""
    if taken := [name for name in names if name in answers]:
        raise DataError(
            f"data {source} has columns with the names of answers ({some(taken)}); name the answers otherwise, "
            "such as with --prefix predicted_"
        )


def texts_of(columns: Sequence[str]) -> Callable[[pyarrow.Table, Mapping[int, str]], list[Content]]:
    """A reader of the texts, or pairs of texts, in the columns given."""

    def read(table: pyarrow.Table, faults: Mapping[int, str]) -> list[Content]:
        cells = [table[name].to_pylist() for name in columns]
        return [
            Unusable(faults[place]) if place in faults else _text(row, columns)
            for place, row in enumerate(zip(*cells, strict=True))
        ]

    return read


def _text(cells: Sequence[Any], columns: Sequence[str]) -> Content:
    try:
        texts = [text_of(cell, "", name) for cell, name in zip(cells, columns, strict=True)]
    except DataError:  # it names the place of the row, which the row of an error does not need
        return Unusable(f"{columns[0]}: must be a text or a number, got a list, an object or bytes that are not UTF-8")
    for text, name in zip(texts, columns, strict=True):
        if text is None:
            return Unusable(f"{name}: {MISSING}")
    try:
        if len(columns) == 2:
            return check_pair(texts[0], texts[1], columns[0], columns[1])
        return check_text(texts[0], columns[0])
    except InvalidInputError as error:
        return Unusable(str(error))


def images_of(column: str, folder: Path) -> Callable[[pyarrow.Table, Mapping[int, str]], list[Content]]:
    """A reader of the images in a column: bytes, the hub's `{bytes, path}`, or paths that start at `folder`."""

    def read(table: pyarrow.Table, faults: Mapping[int, str]) -> list[Content]:
        return [
            Unusable(faults[place]) if place in faults else _image(cell, column, folder)
            for place, cell in enumerate(table[column].to_pylist())
        ]

    return read


def _image(cell: Any, column: str, folder: Path) -> Content:
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return ImageBytes(column, cell)
    if isinstance(cell, str) and cell.strip():
        return ImageBytes(column, folder / cell.strip())
    if cell is None or cell in ("", b""):
        return Unusable(f"{column}: {MISSING}")
    return Unusable(f"{column}: must be an image's bytes or the path of its file, got {type(cell).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerColumns:
    """The columns that a cascade's answers make: `field` is `label` or `labels`."""

    field: str
    labels: tuple[str, ...]
    scores: bool = False
    prefix: str = ""

    @classmethod
    def of(cls, scorer: Scorer, *, scores: bool, prefix: str) -> AnswerColumns:
        """Those of an open cascade."""
        return cls(field=scorer.field, labels=scorer.labels, scores=scores, prefix=prefix)

    @property
    def schema(self) -> pyarrow.Schema:
        """Names and types, in order."""
        label = pyarrow.string() if self.field == "label" else pyarrow.list_(pyarrow.string())
        fields: dict[str, Any] = {self.field: label, "confidence": pyarrow.float64(), "stage": pyarrow.string()}
        fields |= {"escalated": pyarrow.bool_(), "truncated": pyarrow.bool_()}
        if self.scores:
            fields["scores"] = pyarrow.struct([(label, pyarrow.float64()) for label in self.labels])
        fields["error"] = pyarrow.string()
        return pyarrow.schema([(self.prefix + name, kind) for name, kind in fields.items()])

    def beside(self, table: pyarrow.Table, scored: Sequence[Scored]) -> pyarrow.Table:
        """The table with the answers behind its own columns."""
        answers = [each.answer for each in scored]
        cells: list[list[Any]] = [
            [answer and _label(answer.label) for answer in answers],
            [answer and answer.confidence for answer in answers],
            [each.stage for each in scored],
            [each.escalated for each in scored],
            [None if each.answer is None else each.truncated for each in scored],
        ]
        if self.scores:
            cells.append([answer and dict(zip(self.labels, answer.scores, strict=True)) for answer in answers])
        cells.append([each.error for each in scored])
        for field, column in zip(self.schema, cells, strict=True):
            table = table.append_column(field, pyarrow.array(column, field.type))
        return table


def _label(label: str | tuple[str, ...]) -> str | list[str]:
    return label if isinstance(label, str) else list(label)
