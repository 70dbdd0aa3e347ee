from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.data.readers import NpzData, read_rows
from optimize.errors import DataError


def read(config: Any, root: Path = Path()) -> Any:
    return read_rows(config, root=root, seed=0)


def test_an_npz(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    arrays = {"train_x": images, "train_y": np.arange(6) % 2, "test_x": images[:2], "test_y": np.array([1, 0])}
    np.savez(tmp_path / "d.npz", **arrays, classes=np.array(["cat", "dog"]))
    got, holdout = read(NpzData(source="npz", path="d.npz"), tmp_path)
    assert got.labels == ["cat", "dog"] * 3
    assert holdout.labels == ["dog", "cat"]
    np.testing.assert_array_equal(got.inputs, images)
    with pytest.raises(DataError, match="no array 'x'; it has train_x"):
        read(NpzData(source="npz", path="d.npz", train_keys=("x", "y")), tmp_path)
    np.savez(tmp_path / "d.npz", **{**arrays, "train_x": images / 255}, classes=np.array(["cat", "dog"]))
    with pytest.raises(DataError, match=r"must be uint8 \[items, .* got float64 \[6, 4, 4, 3\] and 6 labels"):
        read(NpzData(source="npz", path="d.npz"), tmp_path)
