from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from optimize.data.inputs import decoded
from optimize.data.readers import FolderData, read_rows
from optimize.errors import DataError
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder


def read(config: Any, root: Path = Path()) -> Any:
    return read_rows(config, root=root, seed=0)


def test_an_image_folder(tmp_path: Path) -> None:
    for label, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for index in range(3):
            (tmp_path / "train" / label).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), colour).save(tmp_path / "train" / label / f"{index}.{'jpg' if index else 'PNG'}")
    (tmp_path / "train" / "notes.txt").write_text("left alone")
    got, _ = read(FolderData(source="folder", train="train"), tmp_path)
    assert got.labels == ["blue"] * 3 + ["red"] * 3
    assert got.ids[0] == "blue/0.PNG"
    decoder = ImageDecoder(ImageSettings(width=5, height=4, mean=(0, 0, 0), std=(1, 1, 1)))
    pixels = decoded(got.inputs[0], decoder)
    assert pixels.shape == (3, 4, 5)
    assert pixels[:, 0, 0].tolist() == [0, 0, 1]
    assert got.inputs[0].name.endswith("blue/0.PNG")


def test_an_image_folder_of_many_formats_says_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffixes = ["jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "gif", "bmp", "tif", "tiff"]
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for suffix in suffixes:
            kind = {"jpe": "JPEG", "jfif": "JPEG", "jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
            Image.new("RGB", (5, 4)).save(tmp_path / label / f"x.{suffix}", kind)
        (tmp_path / label / "x.heic").write_bytes(b"another format")
    (tmp_path / "a" / "notes.txt").write_text("left alone")
    got, _ = read(FolderData(source="folder", train="."), tmp_path)
    assert len(got.inputs) == 2 * len(suffixes)
    said = " ".join(capsys.readouterr().out.split())
    assert "3 files are not read as images and left out: 2 .heic, 1 .txt" in said


def test_a_label_does_not_vanish_with_its_format(tmp_path: Path) -> None:
    for label, suffix in (("a", "png"), ("b", "heic")):
        (tmp_path / label).mkdir()
        Image.new("RGB", (5, 4)).save(tmp_path / label / f"x.{suffix}", "PNG")
    with pytest.raises(DataError, match="the label b has only files that are not read as images; convert them"):
        read(FolderData(source="folder", train="."), tmp_path)


def test_an_empty_image_folder_says_how_to_lay_it_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lay it out as LABEL/NAME\.jpg"):
        read(FolderData(source="folder", train="."), tmp_path)


def test_a_file_that_is_no_image_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "train" / "red").mkdir(parents=True)
    (tmp_path / "train" / "red" / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"data .*red/broken\.jpg: must be a JPEG, PNG, .* image, .* convert it first"):
        read(FolderData(source="folder", train="train"), tmp_path)
