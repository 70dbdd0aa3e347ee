from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optimize.data.rows import Rows
from optimize.data.sources import DigitsData, FilesData, FolderData
from optimize.data.splits import load_splits
from optimize.data.unlabelled import Labeller, read_unlabelled
from optimize.errors import DataError


def files(train: str, **more: Any) -> FilesData:
    return FilesData(source="files", train=Path(train), labels="teacher", calibration_size=4, **more)


def test_one_text_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.txt").write_text('\ufeffone "text\r\n\r\n  two, texts \nthree\n', encoding="utf-8", newline="")
    (tmp_path / "held.txt").write_text("four")
    train, holdout = read_unlabelled(files("log.txt", holdout=Path("held.txt")), root=tmp_path, seed=0)
    assert train.inputs == ['one "text', "two, texts", "three"]
    assert (train.labels, train.ids) == ([], ["log.txt:1", "log.txt:3", "log.txt:4"])
    assert holdout is not None
    assert holdout.inputs == ["four"]
    assert "data log.txt: left out: 1 empty line" in capsys.readouterr().out


def test_lines_in_another_encoding_are_read_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.txt").write_bytes("grün".encode("cp1252"))
    train, _ = read_unlabelled(files("log.txt"), root=tmp_path, seed=0)
    assert train.inputs == ["grün"]
    assert "it is read as cp1252, since it is not UTF-8" in capsys.readouterr().out


@pytest.mark.parametrize("header", ["text", "text,label"])
def test_a_table_needs_no_label_column_and_one_that_is_there_is_ignored(tmp_path: Path, header: str) -> None:
    (tmp_path / "rows.csv").write_text(f"{header}\n" + "".join(f"a{',x' * header.count(',')}\n" for _ in range(3)))
    train, holdout = read_unlabelled(files("rows.csv"), root=tmp_path, seed=0)
    assert (train.inputs, train.labels, train.classes, holdout) == (["a"] * 3, [], None, None)


def test_images_of_any_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b.png", "a.jpg", "deeper/than/this.png", ".hidden/c.png", "._a.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.md").write_text("none")
    config = FolderData(source="folder", train=Path("photos"), labels="teacher")
    train, _ = read_unlabelled(config, root=tmp_path, seed=0)
    assert train.ids == ["a.jpg", "b.png", "deeper/than/this.png"]
    assert (train.kind, train.labels) == ("image", [])
    assert "left out: 3 files, hidden or no images" in capsys.readouterr().out
    (tmp_path / "photos" / "cut.jpg").write_bytes((tmp_path / "photos" / "a.jpg").read_bytes()[:-40])
    with pytest.raises(DataError, match="1 of 4 images cannot be used: 1 with a file that is no whole image"):
        read_unlabelled(config, root=tmp_path, seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no images in it"):
        read_unlabelled(config.model_copy(update={"train": Path("empty")}), root=tmp_path, seed=0)


def test_sources_with_labels_of_their_own_lose_them() -> None:
    train, _ = read_unlabelled(DigitsData(source="digits", labels="teacher"), root=Path(), seed=0)
    assert (len(train.inputs), train.labels) == (1797, [])


def bright(rows: Rows) -> list[str]:
    return ["bright" if np.mean(image) > 80 else "dark" for image in rows.inputs]


def test_the_teachers_answers_are_the_labels_that_splits_keep_the_shares_of() -> None:
    config = DigitsData(source="digits", labels="teacher", limit=400)
    asked: list[int] = []

    def answer(rows: Rows) -> list[str]:
        asked.append(len(rows.ids))
        return bright(rows)

    splits = load_splits(config, seed=1, root=Path(), labeller=Labeller(("dark", "bright", "striped"), answer))
    assert asked == [400], "only rows that are kept"
    described = splits.describe()
    assert (described["labels_from"], splits.selection.labels_from) == ("teacher", "teacher")
    assert splits.labels == ("dark", "bright", "striped")
    shares = [np.bincount(split.targets, minlength=3) / len(split) for split in splits.all]
    assert np.ptp(shares, axis=0).max() < 0.03
    again = load_splits(config, seed=1, root=Path(), labeller=Labeller(("dark", "bright", "striped"), bright))
    assert again.describe() == described


def test_a_teacher_that_gives_one_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("\n".join(f"text {chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(60)))
    with pytest.raises(DataError, match="gives 1 of its 3 labels to at least 5 of 60 rows, and five splits need two"):
        load_splits(files("log.txt"), seed=1, root=tmp_path, labeller=labeller("a", 60))


def test_labels_that_the_teacher_hardly_gives_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.txt").write_text("\n".join(f"text {chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(60)))
    load_splits(files("log.txt"), seed=1, root=tmp_path, labeller=labeller("a", 30))
    assert "gives 1 of its 3 labels to fewer than 5 rows ('c'); little can be said" in " ".join(
        capsys.readouterr().out.split()
    )


def labeller(label: str, often: int) -> Labeller:
    return Labeller(("a", "b", "c"), lambda rows: [label if i < often else "b" for i in range(len(rows.ids))])


def test_a_txt_file_with_named_columns_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("id\ttext\n1\tone\n2\ttwo\n")
    (tmp_path / "held.csv").write_text("id,text\n1,three\n")
    config = files("log.txt", holdout=Path("held.csv"))
    lines, held = read_unlabelled(config, root=tmp_path, seed=0)
    assert lines.inputs == ["id\ttext", "1\tone", "2\ttwo"]
    assert held is not None
    assert held.inputs == ["three"]
    named = FilesData.model_validate({**config.model_dump(exclude_unset=True), "text_column": "text"})
    assert read_unlabelled(named, root=tmp_path, seed=0)[0].inputs == ["one", "two"]


def test_a_zip_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    config = FolderData(source="folder", train=Path("photos.zip"), labels="teacher")
    with pytest.raises(DataError, match=r"must be a folder of images where labels = .*; unpack it"):
        read_unlabelled(config, root=tmp_path, seed=0)
