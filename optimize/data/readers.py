"""One reader for each kind of data source; all return the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from optimize.data.folders import read_folder
from optimize.data.hub import read_hub
from optimize.data.npz import read_npz
from optimize.data.rows import Rows as Rows
from optimize.data.sources import DataConfig as DataConfig
from optimize.data.sources import DigitsData as DigitsData
from optimize.data.sources import FilesData as FilesData
from optimize.data.sources import FolderData as FolderData
from optimize.data.sources import HubData as HubData
from optimize.data.sources import NpzData as NpzData
from optimize.data.sources import PaymentsData as PaymentsData
from optimize.data.tables import read_table


def read_rows(config: DataConfig, *, root: Path, seed: int) -> tuple[Rows, Rows | None]:
    """The rows to train on, and the holdout when the source names one; relative paths start at `root`.

    `seed` generates synthetic data. Raises DataError when a source is missing or cannot be read.
    """
    match config:
        case FilesData():
            train = read_table(config, config.train, root)
            return train, read_table(config, config.holdout, root) if config.holdout else None
        case FolderData():
            return read_folder(config.train, root), read_folder(config.holdout, root) if config.holdout else None
        case NpzData():
            return read_npz(config, root)
        case HubData():
            return read_hub(config, root)
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
