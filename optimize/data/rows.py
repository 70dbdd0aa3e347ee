"""The rows of a data source, whatever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optimize.data.image_file import ImageFile
from optimize.errors import DataError


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a source: inputs, the name of each row's label, and an id for each row that is the same in every run."""

    kind: Literal["text", "image"]
    inputs: Sequence[str] | Sequence[ImageFile] | Sequence[NDArray[np.uint8]]
    """Texts, image files, or pixels uint8 [height, width, channels]."""
    labels: list[str]
    ids: list[str]
    source: str
    synthetic: bool = False
    classes: tuple[str, ...] | None = None
    """The labels in the source's own order, which a trained head may depend on; None when it has none."""


def existing(path: Path, root: Path) -> Path:
    full = root / path.expanduser()
    if not full.exists():
        raise DataError(
            f"data {full}: there is no such file or folder; give the folder that relative paths start from with "
            "--root, or write the path in full"
        )
    return full
