"""An npz file of images and labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from optimize.data.rows import Rows, existing
from optimize.data.sources import NpzData
from optimize.errors import DataError


def read_npz(config: NpzData, root: Path) -> tuple[Rows, Rows | None]:
    full = existing(config.path, root)
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
