"""One reader for each kind of data source; all return the same rows, without those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from optimize.data.folders import read_folder
from optimize.data.hub import read_hub
from optimize.data.npz import read_npz
from optimize.data.rows import Found
from optimize.data.rows import Rows as Rows
from optimize.data.sources import DataConfig as DataConfig
from optimize.data.sources import DigitsData as DigitsData
from optimize.data.sources import FilesData as FilesData
from optimize.data.sources import FolderData as FolderData
from optimize.data.sources import HubData as HubData
from optimize.data.sources import NpzData as NpzData
from optimize.data.sources import PaymentsData as PaymentsData
from optimize.data.tables import read_tables
from optimize.data.usable import usable


def read_rows(config: DataConfig, *, root: Path, seed: int, folder: Path | None = None) -> tuple[Rows, Rows | None]:
    """The rows to train on, and the holdout when the source names one; relative paths start at `root`.

    `seed` generates synthetic data. `folder` remembers which images were decoded, and holds texts that are too many for
    memory. What is left out or put right is
    printed. Raises DataError when a source is missing or cannot be read, and for rows that cannot be used.
    """
    found = [part for part in found_in(config, root, seed, folder) if part is not None]
    rows = [usable(part, config, folder=folder) for part in found]
    return rows[0], rows[1] if len(rows) > 1 else None


def found_in(config: DataConfig, root: Path, seed: int, folder: Path | None = None) -> tuple[Found, Found | None]:
    """What a source holds, before it is checked, and the holdout when the source names one."""
    match config:
        case FilesData():
            return read_tables(config, root, folder)
        case FolderData():
            return read_folder(config, root)
        case NpzData():
            return read_npz(config, root, folder)
        case HubData():
            return read_hub(config, root)
        case PaymentsData():
            from optimize.data.payments import generate

            texts, labels = zip(*generate(config.size, seed), strict=True)
            ids = [f"payments:{seed}:{i}" for i in range(len(texts))]
            return Found("text", texts, labels, ids, "generated payment messages", "text", synthetic=True), None
        case DigitsData():
            from sklearn.datasets import load_digits

            digits = load_digits()
            images = (digits.images * (255 / 16)).round().astype(np.uint8)[..., None]
            ids = [f"digits:{i}" for i in range(len(images))]
            return Found("image", images, digits.target.tolist(), ids, "scikit-learn digits", "image"), None
