"""The rows of a data source, whatever it is: as they are found, and as they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimize.data.image_file import ImageFile
from optimize.data.targets import LabelSet
from optimize.errors import DataError
from serving.model.text import TextPair

Kind = Literal["text", "image"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a source: inputs, the label or the label set of each row, and an id that is the same in every run."""

    kind: Kind
    inputs: Sequence[str] | Sequence[TextPair] | Sequence[ImageFile] | Sequence[NDArray[np.uint8]]
    """Texts, pairs of texts, image files, or pixels uint8 [height, width, channels]."""
    labels: list[str] | list[LabelSet]
    ids: Sequence[str]
    source: str
    synthetic: bool = False
    classes: tuple[str, ...] | None = None
    """The labels in the source's own order, which a trained head may depend on; None when it has none."""
    notes: tuple[str, ...] = ()
    """What was left out, merged or found out while reading, a sentence each."""

    @property
    def named(self) -> Iterator[tuple[str, str]]:
        """The id of each row with each of its labels."""
        for row_id, labels in zip(self.ids, self.labels, strict=True):
            yield from ((row_id, label) for label in ((labels,) if isinstance(labels, str) else labels))


class Fault(NamedTuple):
    """Why a row cannot be used: it is one `with` this."""

    what: str
    detail: str = ""


@dataclass(slots=True)
class Found:
    """What a source holds, before it is checked: inputs and labels as the file has them, None where one is missing.

    An image is the path of its file, its bytes, or pixels.
    """

    kind: Kind
    inputs: Sequence[Any]
    labels: Sequence[Any]
    ids: Sequence[str]
    source: str
    input_name: str
    label_name: str = "label"
    classes: tuple[str, ...] | None = None
    synthetic: bool = False
    notes: list[str] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    """By the row's place."""
    seconds: Sequence[Any] | None = None
    """The second texts, where rows are pairs."""
    second_name: str = ""


@dataclass(slots=True)
class Table:
    """Columns by name, as a file has them: all of its rows, or those of a part of it."""

    names: list[str]
    columns: Mapping[str, Sequence[Any]]
    """Those that were asked for and are there."""
    size: int
    notes: list[str] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    """Rows that cannot be read, by place."""
    classes: tuple[str, ...] | None = None
    """The names of the labels, if the file itself states them in order."""
    more_names: bool = False
    """Whether the rows of later parts may have other names."""
    of_rows: int = 0
    """How many rows the file has, where it says so."""


def existing(path: Path, root: Path) -> Path:
    """The full path. Raises DataError if nothing is there."""
    full = root / path.expanduser()
    if not full.exists():
        raise DataError(
            f"data {full}: there is no such file or folder; give the folder that relative paths start from with "
            "--root, or write the path in full"
        )
    return full
