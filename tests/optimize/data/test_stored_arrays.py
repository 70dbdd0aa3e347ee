from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.data import stored_arrays as module
from optimize.data.stored_arrays import stored_array

ROWS = np.random.default_rng(0).integers(0, 256, (1_000, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 1_000)
    monkeypatch.setattr(module, "COPIED_BYTES", 1_000)


def stored(folder: Path, array: Any, *, packed: bool = False) -> Any:
    (np.savez_compressed if packed else np.savez)(folder / "a.npz", rows=array)
    with np.load(folder / "a.npz") as archive:
        return stored_array(archive, "rows", folder)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "array",
    [ROWS, np.asfortranarray(ROWS), ROWS[:2, 0, 0], np.array(["word"] * 200), np.arange(500.0), np.array(3)],
    ids=["rows", "columns first", "few", "words", "floats", "one"],
)
def test_an_array_is_the_same_where_it_lies(tmp_path: Path, array: Any, packed: bool) -> None:
    got = stored(tmp_path, array, packed=packed)
    assert type(got) is np.ndarray
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    assert got.flags.writeable == (array.nbytes <= module.HELD_BYTES), "a large one is a map"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"], "its file has no name"


def test_memory_does_not_grow_with_the_array(tmp_path: Path) -> None:
    large = np.zeros((4_000, 1_000), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", rows=large)
    tracemalloc.start()
    try:
        with np.load(tmp_path / "a.npz") as archive:
            got = stored_array(archive, "rows", tmp_path)
        assert int(got.sum()) == 0
        assert tracemalloc.get_traced_memory()[1] < large.nbytes / 4
    finally:
        tracemalloc.stop()


def test_half_an_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        np.save(tmp_path / "whole.npy", ROWS)
        archive.writestr("rows.npy", (tmp_path / "whole.npy").read_bytes()[:5_000])
    with np.load(tmp_path / "a.npz") as opened, pytest.raises(ValueError, match="mmap length is greater"):
        stored_array(opened, "rows", tmp_path)
