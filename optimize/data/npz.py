"""An npz file of images and labels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.data.label_sets import sets_of_matrix
from optimize.data.rows import Found, existing
from optimize.data.said import some
from optimize.data.sequences import Lazy, row_ids
from optimize.data.sources import NpzData
from optimize.data.stored_arrays import stored_array
from optimize.errors import DataError

CHANNELS = (1, 3, 4)


def read_npz(config: NpzData, root: Path, folder: Path | None = None) -> tuple[Found, Found | None]:
    """The images to train on, and those of the holdout. Those that do not fit into memory go to a file in `folder`."""
    full = existing(config.path, root)
    with _loaded(full) as stored:
        holdout, classes_key = config.holdout_keys, config.classes_key
        # A default that the file does not have is not asked for.
        if "holdout_keys" not in config.model_fields_set and not set(holdout or ()) & set(stored.files):
            holdout = None
        if "classes_key" not in config.model_fields_set and classes_key not in stored.files:
            classes_key = None
        for key in (*config.train_keys, *(holdout or ()), *([classes_key] if classes_key else [])):
            if key not in stored.files:
                raise DataError(
                    f"data {full} has no array {key!r}; it has {some(stored.files)}: set train_keys, holdout_keys and "
                    "classes_key"
                )

        def array(key: str) -> NDArray[Any]:
            return _array(stored, key, full, folder)

        classes = tuple(str(name) for name in array(classes_key).tolist()) if classes_key else None

        def found(keys: tuple[str, str]) -> Found:
            images = _images(array(keys[0]), keys[0], full)
            targets = array(keys[1])
            labels = (
                sets_of_matrix(targets, classes, f"data {full}: {keys[1]}")
                if config.multi_label
                else _labels(targets, keys[1], classes, full)
            )
            if len(images) != len(labels):
                raise DataError(
                    f"data {full}: {keys[1]} must have a label for each of the {len(images)} images in {keys[0]}, got "
                    f"{len(labels)} labels"
                )
            inputs = Lazy(len(images), lambda place: images[place])
            return Found("image", inputs, labels, row_ids([(keys[0], len(images))]), full.name, *keys, classes=classes)

        return found(config.train_keys), found(holdout) if holdout else None


def _loaded(path: Path) -> Any:
    try:
        stored = np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"data {path} is not an npz file ({str(error).splitlines()[0]}); write it with numpy.savez"
        ) from None
    if not hasattr(stored, "files"):
        raise DataError(f"data {path} must be an npz file, got one array; write images and labels with numpy.savez")
    return stored


def _array(stored: Any, key: str, path: Path, folder: Path | None) -> NDArray[Any]:
    try:
        return stored_array(stored, key, folder)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"data {path}: {key} cannot be read ({str(error).splitlines()[0]}); save words as numpy.array(…, dtype=str)"
        ) from None


def _images(images: NDArray[Any], key: str, path: Path) -> NDArray[np.uint8]:
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in CHANNELS:
        raise DataError(
            f"data {path}: {key} must be uint8 [items, height, width, channels] with 1, 3 or 4 channels, or [items, "
            f"height, width], got {images.dtype} {list(images.shape)}; convert them, and move "
            "channels that come first with numpy.moveaxis"
        )
    return images


def _labels(labels: NDArray[Any], key: str, classes: tuple[str, ...] | None, path: Path) -> list[Any]:
    """The names of the labels, or their numbers where there are no classes."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"data {path}: {key} must be [items] or [items, 1], one label for each image, got {list(labels.shape)}"
        )
    if labels.dtype.kind in "US":
        return [label.decode() if isinstance(label, bytes) else label for label in labels.tolist()]
    whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all()))
    most = len(classes) - 1 if classes else np.iinfo(np.int64).max
    if not whole or (len(labels) and (labels.min() < 0 or labels.max() > most)):
        rule = f"index the classes (0..{most})" if classes else "number the labels from 0"
        raise DataError(f"data {path}: {key} must be words, or integers that {rule}, got {_range(labels)}")
    numbers = labels.astype(np.int64).tolist()
    return [classes[number] for number in numbers] if classes else numbers


def _range(labels: NDArray[Any]) -> str:
    return f"{labels.dtype} from {labels.min()} to {labels.max()}" if labels.dtype.kind in "iuf" else str(labels.dtype)
