from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from optimize.errors import DataError
from optimize.score.asked import Asked
from optimize.score.columns import Chunk
from optimize.score.scorer import ImageBytes
from optimize.score.source import Source, open_source, regrouped

TABLE = pyarrow.table({"id": [1, 2, 3], "text": ["one", "two", "three"]})


def texts(path: Path, **asked: Any) -> Source:
    return open_source(path, Asked(**asked), "text", pairs=False)


def rows(source: Source, size: int = 10) -> list[dict[str, Any]]:
    return [row for chunk in source.chunks(size) for row in chunk.table.to_pylist()]


def write_arrow_stream(path: Path) -> None:
    with pyarrow.ipc.new_stream(str(path), TABLE.schema) as writer:
        writer.write_table(TABLE)


WRITERS = {
    "rows.parquet": lambda path: pyarrow.parquet.write_table(TABLE, path),
    "rows.feather": lambda path: pyarrow.feather.write_feather(TABLE, str(path)),
    "rows.arrow": write_arrow_stream,
    "rows.json": lambda path: path.write_text(json.dumps(TABLE.to_pylist())),
    "rows.xlsx": lambda path: pandas.DataFrame(TABLE.to_pydict()).to_excel(path, index=False),
    "rows.ndjson": lambda path: path.write_text("\n".join(map(json.dumps, TABLE.to_pylist()))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_table_is_read_with_all_its_columns(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    source = texts(tmp_path / name)
    assert rows(source) == TABLE.to_pylist()
    chunks = list(source.chunks(2))
    assert [chunk.table.num_rows for chunk in chunks] == [2, 1]
    assert sum(chunk.steps for chunk in chunks) == source.total
    assert source.contents(chunks[1].table, {}) == ["three"]


def test_a_folder_of_parts_is_read_in_order_of_the_names(tmp_path: Path) -> None:
    for number in range(3):
        pyarrow.parquet.write_table(TABLE.slice(number, 1), tmp_path / f"part-{number}.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    source = texts(tmp_path)
    assert (source.total, source.unit) == (3, "rows")
    assert [chunk.table["id"].to_pylist() for chunk in source.chunks(2)] == [[1, 2], [3]]


def test_images_of_a_folder_and_of_a_zip(tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("b.png", "deep/a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / "photos" / name).write_bytes(b"file")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("b.png", "deep/a.jpg", "notes.txt"):
            archive.write(tmp_path / "photos" / name, name)
    for path in (tmp_path / "photos", tmp_path / "photos.zip"):
        source = open_source(path, Asked(), "image", pairs=False)
        assert (source.total, source.unit) == (2, "rows")
        assert any("1 files not read as images" in note for note in source.notes)
        (chunk,) = source.chunks(10)
        assert chunk.table.to_pylist() == [{"file": "b.png"}, {"file": "deep/a.jpg"}]
        contents = source.contents(chunk.table, {})
        assert [image.read() for image in contents if isinstance(image, ImageBytes)] == [b"file"] * 2
        assert [chunk.table.num_rows for chunk in source.chunks(1)] == [1, 1]


def test_a_table_of_images_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("photo,n\na.png,1\n")
    source = open_source(tmp_path / "rows.csv", Asked(image_column="photo"), "image", pairs=False)
    (chunk,) = source.chunks(10)
    assert source.contents(chunk.table, {}) == [ImageBytes("photo", tmp_path / "a.png")]


def test_the_digest_tells_of_a_file_that_was_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\none\n")
    before = texts(path).digest
    assert texts(path).digest == before
    path.write_text("text\ntwo\n")
    os.utime(path, ns=(0, 1))
    assert texts(path).digest != before


def test_small_chunks_of_the_same_columns_become_one() -> None:
    def chunk(names: str, count: int, faults: dict[int, str] | None = None) -> Chunk:
        return Chunk(pyarrow.table({name: range(count) for name in names}), faults or {}, 1)

    grouped = list(regrouped([chunk("a", 2, {1: "x"}), chunk("a", 1, {0: "y"}), chunk("a", 3), chunk("b", 1)], 4))
    assert [each.table.num_rows for each in grouped] == [3, 3, 1]
    assert grouped[0].faults == {1: "x", 2: "y"}
    assert [each.steps for each in grouped] == [2, 1, 1]
    assert list(regrouped([], 4)) == []


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("rows.parquet", b"PAR1 and no more", "cannot be read .*; it is damaged"),
        ("rows.arrow", b"ARROW1 and no more", "cannot be read .*; it is damaged"),
        ("rows.xlsx", b"no Excel", "cannot be read"),
        ("rows.json", b'[{"body": "x"}]', "has no column 'text'; it has body"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=says):
        rows(texts(tmp_path / name))


def test_nothing_to_score_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        texts(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="has no tables in it"):
        texts(tmp_path)
    with pytest.raises(DataError, match="has no images in it"):
        open_source(tmp_path, Asked(), "image", pairs=False)
