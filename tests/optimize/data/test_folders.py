from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from optimize.data.folders import IMAGE_SUFFIXES
from optimize.data.inputs import decoded
from optimize.data.readers import FolderData, Rows, read_rows
from optimize.errors import DataError
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder


def read(folder: Path, **keys: str) -> tuple[Rows, Rows | None]:
    return read_rows(FolderData(source="folder", **{"train": ".", **keys}), root=folder, seed=0)


def make(folder: Path, *names: str) -> Path:
    """A folder with these files: images by their suffix, and a few bytes under any other one."""
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES and not path.name.startswith("."):
            kind = {".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP", ".png": "PNG", ".mpo": "MPO"}.get(suffix, "JPEG")
            kind = "TIFF" if suffix in (".tif", ".tiff") else kind
            Image.new("RGB", (5, 4), (place, 0, 0)).save(path, kind)
        else:
            path.write_bytes(b"another format")
    return folder


def test_an_image_folder(tmp_path: Path) -> None:
    for label, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for index in range(3):
            (tmp_path / "train" / label).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), colour).save(tmp_path / "train" / label / f"{index}.{'jpg' if index else 'PNG'}")
    got, _ = read(tmp_path, train="train")
    assert got.labels == ["blue"] * 3 + ["red"] * 3
    assert got.ids[0] == "blue/0.PNG"
    assert got.notes == ()
    decoder = ImageDecoder(ImageSettings(width=5, height=4, mean=(0, 0, 0), std=(1, 1, 1)))
    pixels = decoded(got.inputs[0], decoder)
    assert pixels.shape == (3, 4, 5)
    assert pixels[:, 0, 0].tolist() == [0, 0, 1]
    assert got.inputs[0].name.endswith("blue/0.PNG")


SUFFIXES = sorted(IMAGE_SUFFIXES)
LAYOUTS: dict[str, tuple[tuple[str, ...], list[str], list[str] | None, tuple[str, ...]]] = {
    "every format": (
        (*(f"{label}/x{suffix}" for label in "ab" for suffix in SUFFIXES), "a/x.heic", "b/x.heic", "a/notes.txt"),
        [f"{label}/x{suffix}" for label in "ab" for suffix in SUFFIXES],
        None,
        ("left out: 3 files not read as images (2 .heic, 1 .txt)",),
    ),
    "hidden": (
        (".ipynb_checkpoints/1.png", "a/1.png", "a/._1.png", "b/1.png", "b/Thumbs.db", "__MACOSX/a/._1.png"),
        ["a/1.png", "b/1.png"],
        None,
        ("passed over as hidden: ._1.png, .ipynb_checkpoints, Thumbs.db, __MACOSX (4 times)",),
    ),
    "deeper": (
        ("a/2.png", "a/more/1.png", "b/more/still/1.png", "loose.png"),
        ["a/2.png", "a/more/1.png", "b/more/still/1.png"],
        None,
        (
            "left out: 1 image in no label's folder (loose.png)",
            "2 images in folders inside a label's folder, read with that label",
        ),
    ),
    "in one folder": (
        ("set/images/a/1.png", "set/images/b/1.png"),
        ["set/images/a/1.png", "set/images/b/1.png"],
        None,
        ("the labels are the folders in set/images/",),
    ),
    "train and val": (
        ("train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png"),
        ["train/a/1.png", "train/b/1.png"],
        ["val/a/2.png", "val/b/2.png"],
        ("train is found as the rows to train on, and validation as the holdout",),
    ),
    "three splits in a folder": (
        ("set/Train/a/1.png", "set/Train/b/1.png", "set/valid/a/2.png", "set/valid/b/2.png", "set/test/b/3.png"),
        ["set/Train/a/1.png", "set/Train/b/1.png", "set/valid/a/2.png", "set/valid/b/2.png"],
        ["set/test/b/3.png"],
        (
            "the labels are the folders in set/",
            "train is found as the rows to train on, and test as the holdout; validation joins train",
        ),
    ),
    "labels that are called like splits": (
        ("train/1.png", "train/more/2.png", "bus/1.png"),
        ["bus/1.png", "train/1.png", "train/more/2.png"],
        None,
        ("1 image in folders inside a label's folder, read with that label",),
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path: Path, layout: str, packed: bool) -> None:
    names, train, holdout, notes = LAYOUTS[layout]
    folder = make(tmp_path / "images", *names)
    if packed:
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    got, held = read(tmp_path, train="images.zip" if packed else "images")
    assert sorted(got.ids) == sorted(train)
    assert (held and held.ids) == holdout
    # How often something hidden is met differs: a hidden folder is not looked into.
    assert sorted(note.partition(" as hidden")[0] for note in got.notes) == sorted(
        note.partition(" as hidden")[0] for note in notes
    )
    if not packed:
        assert set(got.notes) == set(notes)
    assert got.inputs[0].read() == (folder / got.ids[0]).read_bytes()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("a/x.png", "b/x.heic"), "labels whose folders hold no files that are read as images: b; convert the files"),
        (("a/x.png", "b/.hidden"), "labels whose folders hold no files .* b;"),
        (("notes.txt",), r"no images in sub-folders; lay it out as LABEL/NAME\.jpg"),
        (("1.png", "2.png"), r"no images in sub-folders; lay it out as LABEL/NAME\.jpg"),
        (("train/1.png", "test/2.png"), r"test, train hold no folders of labels; lay it out"),
    ],
)
def test_a_layout_without_labels_or_images_is_refused(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(make(tmp_path, *names))


def test_a_label_with_an_empty_folder_does_not_vanish(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"labels whose folders hold no files .*: c; .* take the folders out"):
        read(tmp_path)


def test_a_holdout_of_the_recipe_comes_before_the_folders_own(tmp_path: Path) -> None:
    make(tmp_path / "set", "train/a/1.png", "train/b/1.png", "val/a/2.png")
    make(tmp_path / "held", "a/3.png", "b/3.png")
    got, held = read(tmp_path, train="set", holdout="held")
    assert got.ids == ["train/a/1.png", "train/b/1.png"]
    assert held is not None
    assert held.ids == ["a/3.png", "b/3.png"]
    assert got.notes == ("only train is read of its splits, since the recipe names a holdout; left out: 1 file",)


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "1.png")
    make(tmp_path / "set", "a/1.png")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "a" / "round").symlink_to(tmp_path / "set")
    got, _ = read(tmp_path, train="set")
    assert got.ids == ["a/1.png", "b/1.png"]


def test_another_file_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(b"no zip")
    with pytest.raises(DataError, match="must be a folder or a zip of one, got another file"):
        read(tmp_path, train="images.tar")


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    make(tmp_path / "set", "a/1.bmp", "b/1.bmp")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("a/1.bmp", "b/1.bmp"):
            archive.write(tmp_path / "set" / name, name)
    data = bytearray((tmp_path / "set.zip").read_bytes())
    data[60] ^= 255
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used: .*set.zip/a/1.bmp cannot be read \(Bad CRC"):
        read(tmp_path, train="set.zip")
