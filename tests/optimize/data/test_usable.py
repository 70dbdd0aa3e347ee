from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pandas
import pytest
from PIL import Image

from optimize.data import usable as module
from optimize.data.image_file import ImageFile
from optimize.data.readers import FilesData, FolderData, read_rows
from optimize.data.rows import Fault, Found, Rows
from optimize.data.usable import usable
from optimize.errors import DataError
from serving.model.text import TextPair

REFUSE = FolderData(source="folder", train=Path("photos"))
LEAVE_OUT = REFUSE.model_copy(update={"bad_rows": "leave-out"})


def jpeg(size: int = 64) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((size, size), 90).save(file, "JPEG", quality=95)
    return file.getvalue()


def images(contents: list[Any]) -> Found:
    ids = [f"a/{place}.jpg" for place in range(len(contents))]
    return Found("image", contents, ["a"] * len(contents), ids, "photos", "image")


def test_texts_keep_their_rows() -> None:
    found = Found("text", ["a", " b "], ["x", "y"], ["t.csv:0", "t.csv:1"], "t.csv", "text", notes=["said"])
    rows = usable(found, REFUSE, folder=None)
    assert rows.inputs == ["a", " b "]
    assert rows.labels == ["x", "y"]
    assert rows.notes == ("said",)


def test_faults_of_every_kind_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    found = Found("text", ["a", None, "c", None, "e"], ["x", "x", None, None, "y"], [f"t.csv:{i}" for i in range(5)],
                  "t.csv", "text", faults={4: Fault("more columns")})  # fmt: skip
    says = (
        "4 of 5 rows cannot be used: 2 with no 'text' (row 2 of t.csv, row 4 of t.csv), 1 with no 'label' (row 3 of "
        "t.csv), 1 with more columns (row 5 of t.csv)"
    )
    with pytest.raises(DataError) as error:
        usable(found, REFUSE, folder=None)
    assert str(error.value) == f'data t.csv: {says}; mend them or take them out, or set bad_rows = "leave-out"'
    rows = usable(found, LEAVE_OUT, folder=None)
    assert (rows.inputs, rows.labels, rows.ids) == (["a"], ["x"], ["t.csv:0"])
    assert rows.notes == (f"left out: {says}",)
    assert capsys.readouterr().out == f"data t.csv: left out: {says}\n"


def test_a_source_of_bad_rows_alone_is_refused() -> None:
    found = Found("text", [None], ["x"], ["t.csv:0"], "t.csv", "text")
    with pytest.raises(DataError, match="1 of 1 rows cannot be used"):
        usable(found, LEAVE_OUT, folder=None)


def test_a_truncated_jpeg_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    whole = jpeg()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.jpg").write_bytes(b"no image")
    found = images([whole, tmp_path / "half.jpg", tmp_path / "none.jpg"])
    says = (
        r"2 of 3 images cannot be used: 2 with a file that is no whole image \(.*half.jpg: must be a whole image file"
    )
    with pytest.raises(DataError, match=says):
        usable(found, REFUSE, folder=tmp_path)
    rows = usable(found, LEAVE_OUT, folder=tmp_path)
    assert [image.read() for image in rows.inputs] == [whole]


def test_a_second_run_decodes_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []
    decode = ImageFile.require_whole
    monkeypatch.setattr(ImageFile, "require_whole", lambda image: (looked_at.append(image.sha256), decode(image)))
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 2)
    files = [jpeg() for _ in range(3)]
    usable(images(files), REFUSE, folder=tmp_path)
    assert len(looked_at) == 3
    usable(images([*files, jpeg()]), REFUSE, folder=tmp_path)
    assert len(looked_at) == 4
    usable(images(files), REFUSE, folder=None)
    assert len(looked_at) == 7
    monkeypatch.setattr(module.PIL, "__version__", "another")
    usable(images(files), REFUSE, folder=tmp_path)
    assert len(looked_at) == 10


def photos(folder: Path) -> Found:
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(jpeg())
    return images([folder / f"{number}.jpg" for number in range(3)])


def test_a_second_run_reads_only_the_files_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_file = ImageFile.read
    monkeypatch.setattr(ImageFile, "read", lambda image: (read.append(Path(image.name).name), read_file(image))[1])
    found = photos(tmp_path)
    before = [image.sha256 for image in usable(found, REFUSE, folder=tmp_path).inputs]
    assert set(read) == {"0.jpg", "1.jpg", "2.jpg"}
    read.clear()
    assert [image.sha256 for image in usable(found, REFUSE, folder=tmp_path).inputs] == before
    assert read == []
    (tmp_path / "1.jpg").write_bytes(jpeg(65))
    os.utime(tmp_path / "2.jpg", ns=(1, 1))
    after = [image.sha256 for image in usable(found, REFUSE, folder=tmp_path).inputs]
    assert set(read) == {"1.jpg", "2.jpg"}
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_a_run_that_was_stopped_knows_what_it_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = photos(tmp_path)
    decode = ImageFile.require_whole

    def stopped(image: ImageFile) -> None:
        if image.name.endswith("2.jpg"):
            raise KeyboardInterrupt
        decode(image)

    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 1)
    monkeypatch.setattr(ImageFile, "require_whole", stopped)
    with pytest.raises(KeyboardInterrupt):
        usable(found, REFUSE, folder=tmp_path)
    looked_at: list[str] = []
    monkeypatch.setattr(ImageFile, "require_whole", lambda image: looked_at.append(Path(image.name).name))
    usable(found, REFUSE, folder=tmp_path)
    assert looked_at == ["2.jpg"]


PAIRS = "text,text_pair,label\na,b,0\nc, ,1\n,d,1\n"


def read_pairs(root: Path, **keys: Any) -> Rows:
    return read_rows(FilesData(source="files", **{"train": "t.csv", **keys}), root=root, seed=0)[0]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_two_columns_make_pairs(tmp_path: Path, name: str) -> None:
    table = pandas.DataFrame({"text": ["a", "b"], "label": ["0", "1"], "other": [1, 2]})
    table.to_parquet(tmp_path / name) if name.endswith("parquet") else table.to_csv(tmp_path / name, index=False)
    got = read_pairs(tmp_path, train=name, text_pair_column="other")
    assert got.inputs == [TextPair("a", "1"), TextPair("b", "2")]
    assert got.labels == ["0", "1"]
    with pytest.raises(DataError, match="'text_pair'; it has text, label, other: set text_pair_column and label_colu"):
        read_pairs(tmp_path, train=name, text_pair_column="text_pair")


def test_an_empty_second_text_is_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PAIRS)
    with pytest.raises(DataError, match=r"2 of 3 rows cannot be used: 1 with no 'text_pair' .*, 1 with no 'text' "):
        read_pairs(tmp_path, text_pair_column="text_pair")
    assert read_pairs(tmp_path, text_pair_column="text_pair", bad_rows="leave-out").inputs == [TextPair("a", "b")]
