"""One reader for each kind of data source; all return the same rows."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from optimize.data.image_file import ImageFile
from optimize.errors import DataError
from optimize.progress import console

# TOML has no null.
NONE_WHEN_EMPTY = BeforeValidator(lambda value: None if value in ("", [], ()) else value)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


class _Data(BaseModel):
    """Fields of every source. Shares are of the rows; `limit` keeps about that many, for quick runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...] | None = None
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


def read_rows(config: DataConfig, *, root: Path, seed: int) -> tuple[Rows, Rows | None]:
    """The rows to train on, and the holdout when the source names one; relative paths start at `root`.

    `seed` generates synthetic data. Raises DataError when a source is missing or cannot be read.
    """
    match config:
        case FilesData():
            train = _read_table(config, config.train, root)
            return train, _read_table(config, config.holdout, root) if config.holdout else None
        case FolderData():
            return _read_folder(config.train, root), _read_folder(config.holdout, root) if config.holdout else None
        case NpzData():
            return _read_npz(config, root)
        case HubData():
            return _read_hub(config, root)
        case PaymentsData():
            from optimize.data.payments import generate

            texts, labels = zip(*generate(config.size, seed), strict=True)
            ids = [f"payments:{seed}:{i}" for i in range(len(texts))]
            return Rows("text", texts, list(labels), ids, "generated payment messages", synthetic=True), None
        case DigitsData():
            from sklearn.datasets import load_digits

            digits = load_digits()
            images = (digits.images * (255 / 16)).round().astype(np.uint8)[..., None]
            ids = [f"digits:{i}" for i in range(len(images))]
            return Rows("image", images, [str(y) for y in digits.target], ids, "scikit-learn digits"), None


def _existing(path: Path, root: Path) -> Path:
    full = root / path.expanduser()
    if not full.exists():
        raise DataError(
            f"data {full}: there is no such file or folder; give the folder that relative paths start from with "
            "--root, or write the path in full"
        )
    return full


def _read_table(config: FilesData, path: Path, root: Path) -> Rows:
    import pandas

    full = _existing(path, root)
    try:
        if full.suffix == ".parquet":
            table = pandas.read_parquet(full)
        else:
            separator = "\t" if ".tsv" in full.suffixes else ","
            table = pandas.read_csv(full, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, EOFError, ValueError, pandas.errors.ParserError) as error:
        raise DataError(f"data {full} cannot be read ({error}); it must be CSV, TSV (also .gz) or Parquet") from None
    for column in (config.text_column, config.label_column):
        if column not in table.columns:
            there = ", ".join(map(str, table.columns))
            raise DataError(f"data {full} has no column {column!r}; it has {there}: set text_column and label_column")
    texts, labels = (_column(table[name], full) for name in (config.text_column, config.label_column))
    labels = [label.strip() for label in labels]  # "spam " and "spam" are one label
    return Rows("text", texts, labels, [f"{path.name}:{i}" for i in range(len(texts))], full.name)


def _column(values: Any, path: Path) -> list[str]:
    cells = ["" if value is None or value != value else str(value) for value in values]
    for row, cell in enumerate(cells, start=1):
        if not cell.strip():
            raise DataError(f"data {path}: row {row} has an empty {values.name!r}; fill it in or take the row out")
    return cells


def _read_folder(path: Path, root: Path) -> Rows:
    full = _existing(path, root)
    there = sorted(p for p in full.glob("[!.]*/[!.]*") if p.is_file())
    files = [p for p in there if p.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(f"data {full} has no images in sub-folders; lay it out as LABEL/NAME.jpg (or .png, .webp, …)")
    _tell_left_out(full, there, files)
    labels = [file.parent.name for file in files]
    inputs = [ImageFile(str(file), file) for file in files]
    return Rows("image", inputs, labels, [file.relative_to(full).as_posix() for file in files], full.name)


def _tell_left_out(folder: Path, there: list[Path], files: list[Path]) -> None:
    """Say how many files are left out. Raises DataError if a label would have none."""
    left_out = Counter(p.suffix.lower() for p in there if p.suffix.lower() not in IMAGE_SUFFIXES)
    for label in sorted({p.parent.name for p in there} - {p.parent.name for p in files}):
        raise DataError(
            f"data {folder}: the label {label} has only files that are not read as images; convert them to JPEG or "
            "PNG, or take the folder out"
        )
    if left_out:
        said = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in left_out.most_common())
        console.print(f"data {folder}: {left_out.total()} files are not read as images and left out: {said}")


def _read_npz(config: NpzData, root: Path) -> tuple[Rows, Rows | None]:
    full = _existing(config.path, root)
    with _loaded(full) as stored:
        wanted = [
            *config.train_keys,
            *(config.holdout_keys or ()),
            *([config.classes_key] if config.classes_key else []),
        ]
        missing = [key for key in wanted if key not in stored.files]
        if missing:
            raise DataError(f"data {full} has no array {missing[0]!r}; it has {', '.join(stored.files)}")
        classes = tuple(str(name) for name in stored[config.classes_key]) if config.classes_key else None

        def rows(keys: tuple[str, str]) -> Rows:
            images, targets = stored[keys[0]], stored[keys[1]]
            if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(targets):
                raise DataError(
                    f"data {full}: {keys[0]} must be uint8 [items, height, width, channels] with as many labels, got "
                    f"{images.dtype} {list(images.shape)} and {len(targets)} labels"
                )
            if (
                not np.issubdtype(targets.dtype, np.integer)
                or targets.min() < 0
                or targets.max() >= len(classes or targets)
            ):
                raise DataError(
                    f"data {full}: {keys[1]} must be integers that index the classes"
                    f"{f' (0..{len(classes) - 1})' if classes else ''}, got {targets.dtype} up to {targets.max()}"
                )
            labels = [classes[t] if classes else str(t) for t in targets.tolist()]
            ids = [f"{keys[0]}:{i}" for i in range(len(images))]
            return Rows("image", images, labels, ids, full.name, classes=classes)

        return rows(config.train_keys), rows(config.holdout_keys) if config.holdout_keys else None


def _loaded(path: Path) -> Any:
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"data {path} is not an npz file ({str(error).splitlines()[0]}); write it with numpy.savez"
        ) from None


def _read_hub(config: HubData, root: Path) -> tuple[Rows, Rows | None]:
    from datasets import Image, load_dataset
    from datasets.exceptions import DatasetNotFoundError

    local = root / config.id
    name = str(local) if local.is_dir() else config.id
    try:
        stored = load_dataset(name, config.config, revision=None if local.is_dir() else config.revision)
    except (DatasetNotFoundError, OSError, ValueError) as error:
        raise DataError(
            f"data set {config.id} could not be had from the hub ({type(error).__name__}) and is not in its cache; "
            'bring its files to this machine and use source = "files" or "folder"'
        ) from None

    def rows(split: str) -> Rows:
        if split not in stored:
            raise DataError(f"data set {config.id} has no split {split!r}; it has {', '.join(stored)}")
        part = stored[split]
        for column in (config.input_column, config.label_column):
            if column not in part.column_names:
                raise DataError(f"data set {config.id} has no column {column!r}; it has {', '.join(part.column_names)}")
        names = getattr(part.features[config.label_column], "names", None)
        labels = [names[v] if names else str(v) for v in part[config.label_column]]
        ids = [f"{split}:{i}" for i in range(len(part))]
        classes = tuple(names) if names else None
        if not isinstance(part.features[config.input_column], Image):
            return Rows("text", list(part[config.input_column]), labels, ids, config.id, classes=classes)
        files = part.cast_column(config.input_column, Image(decode=False))[config.input_column]
        for name, file in zip(ids, files, strict=True):
            if file is None:
                raise DataError(f"data set {config.id}: row {name} has no image; take it out")
        images = [ImageFile(name, file["bytes"] or Path(file["path"])) for name, file in zip(ids, files, strict=True)]
        return Rows("image", images, labels, ids, config.id, classes=classes)

    return rows(config.train), rows(config.holdout) if config.holdout else None
