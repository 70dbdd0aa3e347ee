"""What a recipe says of its data: one model for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Problem = Literal["single-label", "multi-label"]
# TOML has no null.
NONE_WHEN_EMPTY = BeforeValidator(lambda value: None if value in ("", [], ()) else value)


class AnyData(BaseModel):
    """Fields of every source. Shares are of the rows; `limit` keeps about that many, for quick runs.

    A default that is left out of the recipe's digest leaves the digest that of a recipe without the field.
    """

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
    bad_rows: Literal["refuse", "leave-out"] = Field(default="refuse", exclude_if="refuse".__eq__)
    """Rows without an input or a label, rows with too many columns, images that cannot be decoded."""
    label_variants: Literal["refuse", "merge", "keep"] = Field(default="refuse", exclude_if="refuse".__eq__)
    """Labels that differ in case or white space alone. `merge` takes the spelling that most rows have."""
    min_rows_per_label: int = Field(default=5, ge=5, exclude_if=(5).__eq__)
    rare_labels: Literal["refuse", "other", "leave-out"] = Field(default="refuse", exclude_if="refuse".__eq__)
    """Labels with fewer rows to train on. `other` gives their rows one label together."""
    max_contradictory_share: float = Field(default=0.05, ge=0, le=1, exclude_if=(0.05).__eq__)
    """Of rows whose input stands there with another label too."""

    @model_validator(mode="after")
    def _rules_have_labels(self) -> Self:
        rules = {"label_columns", "label_variants", "max_contradictory_share", "min_rows_per_label", "rare_labels"}
        if self.labels == "teacher" and (asked := sorted(rules & self.model_fields_set)):
            raise ValueError(f'{", ".join(asked)}: a rule for labels of the data, and labels = "teacher"; leave it out')
        return self

    @property
    def pairs(self) -> bool:
        """Whether each row is a pair of texts."""
        return getattr(self, "text_pair_column", None) is not None

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels, or none."""
        return False


class _SeveralLabels(AnyData):
    """Fields of sources whose rows may have several labels each, or none."""

    problem: Problem = Field(default="single-label", exclude_if="single-label".__eq__)
    """`multi-label`: an item has every label that fits, maybe none; `single-label`: it has exactly one."""

    @property
    def multi_label(self) -> bool:
        return self.problem == "multi-label"


class _LabelCells(_SeveralLabels):
    """Fields of sources with a column of labels."""

    label_separator: str = Field(default="|", min_length=1, exclude_if="|".__eq__)
    """What stands between the labels in a text of several; a list needs none."""
    label_columns: tuple[str, ...] | None = Field(default=None, min_length=2, exclude_if=lambda names: names is None)
    """In the place of `label_column`: a column for each label, with 1 or true where a row has it, else 0 or false."""

    @model_validator(mode="after")
    def _separates_something(self) -> Self:
        if self.label_separator != "|" and self.problem != "multi-label":
            raise ValueError('label_separator needs problem = "multi-label"; add it, or leave label_separator out')
        return self

    @model_validator(mode="after")
    def _states_labels_once(self) -> Self:
        if self.label_columns is None:
            return self
        if others := sorted({"label_column", "label_separator"} & self.model_fields_set):
            raise ValueError(f"label_columns: {others[0]} is for labels in one column; leave one of the two out")
        if len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError("label_columns: a column stands twice; name each once")
        return self


class FilesData(_LabelCells):
    """A table, or a folder of tables; each row has one text and one label, or several labels.

    With `text_pair_column` each row has two texts, which are classified together.
    With `image_column` each row has an image: its bytes, or the path of its file, which starts at the table's folder.
    """

    source: Literal["files"]
    train: Path
    holdout: Path | None = None
    text_column: str = "text"
    text_pair_column: str | None = Field(default=None, exclude_if=lambda column: column is None)
    label_column: str = "label"
    image_column: str | None = Field(default=None, exclude_if=lambda column: column is None)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, exclude_if=lambda sign: sign is None)
    encoding: str | None = Field(default=None, exclude_if=lambda name: name is None)
    """Both are found where they are not stated."""


class FolderData(AnyData):
    """A folder of images with one sub-folder for each label, or a zip of it; it may have train, val and test inside."""

    source: Literal["folder"]
    train: Path
    holdout: Path | None = None


class NpzData(_SeveralLabels):
    """An npz file of images uint8 [items, height, width, channels] or [items, height, width] and their labels.

    Labels of several each are a matrix of 0 and 1 [items, labels].

    `classes_key` names the array of class names. `holdout_keys = []` and `classes_key = ""` mean that there is none, as
    does a file without the arrays of the default.
    """

    source: Literal["npz"]
    path: Path
    train_keys: tuple[str, str] = ("train_x", "train_y")
    holdout_keys: Annotated[tuple[str, str] | None, NONE_WHEN_EMPTY] = ("test_x", "test_y")
    classes_key: Annotated[str | None, NONE_WHEN_EMPTY] = "classes"


class HubData(_LabelCells):
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
    text_pair_column: str | None = Field(default=None, exclude_if=lambda column: column is None)
    label_column: str = "label"


class PaymentsData(AnyData):
    """Synthetic payment messages, generated from the recipe's seed."""

    source: Literal["payments"]
    size: int = Field(default=6000, ge=100)


class DigitsData(AnyData):
    """The handwritten digits that come with scikit-learn: 1,797 grey images of 8 x 8 pixels."""

    source: Literal["digits"]


DataConfig = Annotated[
    FilesData | FolderData | NpzData | HubData | PaymentsData | DigitsData, Field(discriminator="source")
]
