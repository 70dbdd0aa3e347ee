"""What a recipe says of its data: one model for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# TOML has no null.
NONE_WHEN_EMPTY = BeforeValidator(lambda value: None if value in ("", [], ()) else value)


class _Data(BaseModel):
    """Fields of every source. Shares are of the rows; `limit` keeps about that many, for quick runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...] | Literal["teacher"] | None = None
    """All labels, in the order of a checkpoint's head that names none. `teacher` takes the checkpoint's own labels and
    its answers, so that rows need none."""
    selection_share: float = Field(default=0.15, gt=0, lt=1)
    certification_share: float = Field(default=0.15, gt=0, lt=1)
    holdout_share: float = Field(default=0.15, gt=0, lt=1)
    """Used when the source names no holdout of its own."""
    selection_from: Literal["train", "holdout"] = "train"
    """Source of selection and certification. Set "holdout" when the checkpoint was trained on the train rows, where its
    confidence is too high to choose or promise anything."""
    calibration_size: int = Field(default=256, ge=1)
    limit: int | None = Field(default=None, ge=16)


class FilesData(_Data):
    """CSV, TSV (also .gz) or Parquet with a header; each row has one text and one label."""

    source: Literal["files"]
    train: Path
    holdout: Path | None = None
    text_column: str = "text"
    label_column: str = "label"


class FolderData(_Data):
    """Image folders with one sub-folder for each label."""

    source: Literal["folder"]
    train: Path
    holdout: Path | None = None


class NpzData(_Data):
    """An npz file of images uint8 [items, height, width, channels] and integer labels.

    `classes_key` names the array of class names. `holdout_keys = []` and `classes_key = ""` mean that there is none.
    """

    source: Literal["npz"]
    path: Path
    train_keys: tuple[str, str] = ("train_x", "train_y")
    holdout_keys: Annotated[tuple[str, str] | None, NONE_WHEN_EMPTY] = ("test_x", "test_y")
    classes_key: Annotated[str | None, NONE_WHEN_EMPTY] = "classes"


class HubData(_Data):
    """A data set of the hub, pinned by revision, or a local folder that `datasets` can load.

    `holdout = ""` means that it has no such split.
    """

    source: Literal["hub"]
    id: str
    revision: str | None = None
    config: str | None = None
    train: str = "train"
    holdout: Annotated[str | None, NONE_WHEN_EMPTY] = "validation"
    input_column: str = "text"
    label_column: str = "label"


class PaymentsData(_Data):
    """Synthetic payment messages, generated from the recipe's seed."""

    source: Literal["payments"]
    size: int = Field(default=6000, ge=100)


class DigitsData(_Data):
    """The handwritten digits that come with scikit-learn: 1,797 grey images of 8 x 8 pixels."""

    source: Literal["digits"]


DataConfig = Annotated[
    FilesData | FolderData | NpzData | HubData | PaymentsData | DigitsData, Field(discriminator="source")
]
