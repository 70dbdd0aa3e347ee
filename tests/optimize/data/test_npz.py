from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.data import stored_arrays
from optimize.data.inputs import decoded
from optimize.data.readers import NpzData, Rows, read_rows
from optimize.errors import DataError
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(6) % 2


def read(folder: Path, arrays: dict[str, Any], **keys: Any) -> tuple[Rows, Rows | None]:
    np.savez(folder / "d.npz", **arrays)
    return read_rows(NpzData(source="npz", path=folder / "d.npz", **keys), root=Path(), seed=0)


def test_an_npz(tmp_path: Path) -> None:
    arrays = {"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES[:2], "test_y": np.array([1, 0])}
    got, holdout = read(tmp_path, arrays | {"classes": np.array(["cat", "dog"])})
    assert got.labels == ["cat", "dog"] * 3
    assert got.classes == ("cat", "dog")
    assert holdout is not None
    assert holdout.labels == ["dog", "cat"]
    np.testing.assert_array_equal(got.inputs, IMAGES)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, ["0", "1"]),
        (LABELS[:, None].astype(np.uint8), ["0", "1"]),
        (LABELS.astype(np.float32), ["0", "1"]),
        (np.array(["cat", "dog"] * 3), ["cat", "dog"]),
        (np.array([b"cat", b"dog"] * 3), ["cat", "dog"]),
    ],
    ids=["integers", "a column", "floats", "words", "bytes"],
)
def test_labels_of_every_kind(tmp_path: Path, labels: Any, names: list[str]) -> None:
    got, holdout = read(tmp_path, {"train_x": IMAGES, "train_y": labels})
    assert got.labels == names * 3
    assert got.classes is None
    assert holdout is None


def test_grey_images_need_no_channels(tmp_path: Path) -> None:
    got, _ = read(tmp_path, {"train_x": IMAGES[..., 0], "train_y": LABELS})
    decoder = ImageDecoder(ImageSettings(width=4, height=4, mode="L", mean=(0,), std=(1,)))
    np.testing.assert_allclose(decoded(got.inputs[0], decoder)[0], IMAGES[0, ..., 0] / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "keys", "says"),
    [
        ({}, {"train_keys": ("x", "y")}, "no array 'x'; it has train_x, train_y: set train_keys"),
        ({}, {"classes_key": "names"}, "no array 'names'"),
        ({}, {"holdout_keys": ("test_x", "test_y")}, "no array 'test_x'"),
        ({"train_x": IMAGES / 255}, {}, r"must be uint8 \[items, .* got float64 \[6, 4, 4, 3\]"),
        (
            {"train_x": IMAGES.transpose(0, 3, 1, 2)[..., :2]},
            {},
            r"1, 3 or 4 channels.* got uint8 \[6, 3, 4, 2\].*move",
        ),
        ({"train_y": LABELS[:5]}, {}, "a label for each of the 6 images in train_x, got 5"),
        ({"train_y": np.eye(6)}, {}, r"train_y must be \[items\] or \[items, 1\], .* got \[6, 6\]"),
        (
            {"train_y": LABELS + 0.5},
            {},
            "words, or integers that number the labels from 0, got float64 from 0.5 to 1.5",
        ),
        ({"train_y": LABELS - 1}, {}, "got int64 from -1 to 0"),
        (
            {"train_y": LABELS + 1, "classes": np.array(["a", "b"])},
            {},
            r"index the classes \(0..1\), got int64 from 1 to 2",
        ),
        ({"train_y": np.array(["a", None] * 3, dtype=object)}, {}, "save words as numpy.array"),
    ],
)
def test_an_npz_that_cannot_be_read_says_so(tmp_path: Path, arrays: Any, keys: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, {"train_x": IMAGES, "train_y": LABELS, **arrays}, **keys)


def test_another_file_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", IMAGES)
    with pytest.raises(DataError, match="must be an npz file, got one array"):
        read_rows(NpzData(source="npz", path=tmp_path / "d.npy"), root=Path(), seed=0)
    (tmp_path / "d.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is not an npz file"):
        read_rows(NpzData(source="npz", path=tmp_path / "d.npz"), root=Path(), seed=0)


def test_a_large_npz_gives_the_same_rows_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES[:2], "test_y": LABELS[:2]}
    before = read(tmp_path, arrays)
    monkeypatch.setattr(stored_arrays, "HELD_BYTES", 0)
    for one, other in zip(before, read(tmp_path, arrays), strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.inputs, other.inputs)
        assert (one.labels, one.ids, one.classes) == (other.labels, other.ids, other.classes)
        assert not other.inputs[0].flags.writeable, "read where it lies"


def test_half_an_npz_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_arrays, "HELD_BYTES", 0)
    np.savez_compressed(tmp_path / "d.npz", train_x=IMAGES, train_y=LABELS)
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[200:220] = bytes(20)
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataError, match="train_x cannot be read"):
        read_rows(NpzData(source="npz", path=tmp_path / "d.npz"), root=Path(), seed=0)
