from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from optimize.errors import DataError
from optimize.score import text_files
from optimize.score.asked import Asked
from optimize.score.text_files import NO_UNICODE, open_text, read_text

CSV = "id,text\n1,hello\n2,größer\n"
ROWS = [{"id": "1", "text": "hello"}, {"id": "2", "text": "größer"}]


def read(path: Path, size: int = 10, wanted: tuple[str, ...] = ("text",), **options: Any) -> list[dict[str, Any]]:
    chunks = read_text(path, wanted, "text", Asked(**options), size)
    return [row for chunk in chunks for row in chunk.table.to_pylist()]


def faults(path: Path, **options: Any) -> list[tuple[int, str]]:
    (chunk,) = read_text(path, ("text",), "text", Asked(**options), 10)
    return sorted(chunk.faults.items())


def zipped(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.csv", data)


def zstandard(path: Path, data: bytes) -> None:
    with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(data)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.csv", Path.write_bytes),
        ("rows.csv.gz", lambda path, data: path.write_bytes(gzip.compress(data))),
        ("rows.csv.bz2", lambda path, data: path.write_bytes(bz2.compress(data))),
        ("rows.csv.xz", lambda path, data: path.write_bytes(lzma.compress(data))),
        ("rows.csv.zst", zstandard),
        ("rows.zip", zipped),
    ],
)
def test_packed_or_not(tmp_path: Path, name: str, write: Callable[[Path, bytes], object]) -> None:
    write(tmp_path / name, CSV.encode())
    assert read(tmp_path / name) == ROWS
    assert read(tmp_path / name, size=1) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "rows.csv").write_bytes(CSV.encode(encoding))
    assert read(tmp_path / "rows.csv") == ROWS
    (tmp_path / "rows.csv").write_bytes("id,text\n1,ずっと\n".encode("shift_jis"))
    assert read(tmp_path / "rows.csv", encoding="shift_jis")[0]["text"] == "ずっと"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "id;text\n1;hello\n2;größer\n"),
        ("rows.tsv", "id\ttext\n1\thello\n2\tgrößer\n"),
        ("rows.csv", "sep=|\nid|text\n1|hello\n2|größer\n"),
        ("rows.jsonl", '{"id":"1","text":"hello"}\n\n{"id":"2","text":"größer"}\n'),
        ("rows", '{"id":"1","text":"hello"}\n{"id":"2","text":"größer"}\n'),
    ],
)
def test_the_kind_and_the_delimiter_are_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read(tmp_path / name) == ROWS


def test_rows_that_are_not_whole_stay_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text\n1,two, columns\n2\n,\n3,fine\n")
    assert [row["id"] for row in read(tmp_path / "rows.csv")] == ["1", "2", "", "3"]
    assert read(tmp_path / "rows.csv")[1]["text"] is None
    ((place, said),) = faults(tmp_path / "rows.csv")
    assert place == 0
    assert said.startswith("more columns than the header's 2")


def test_lines_that_are_no_objects_stay_and_are_named(tmp_path: Path) -> None:
    lines = ['{"text": "one", "n": NaN}', "no json", "[1]", '{"text": "\\ud800"}', '{"late": 1, "text": "two"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    assert [row["text"] for row in read(tmp_path / "rows.jsonl")] == ["one", None, None, "�", "two"]
    assert [row.get("late") for row in read(tmp_path / "rows.jsonl", size=2)] == [None] * 4 + [1]
    said = dict(faults(tmp_path / "rows.jsonl"))
    assert said.keys() == {1, 2, 3}
    assert said[1].startswith("must be JSON, got something else")
    assert said[2].startswith("must be an object with the columns as keys, got list")
    assert said[3] == NO_UNICODE


def test_damaged_bytes_far_into_a_file_are_an_error_of_their_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "SAMPLE_BYTES", 1_000)
    many = b"id,text\n" + "1,größer\n".encode() * 1_500
    (tmp_path / "rows.csv").write_bytes(many + b"2,gr\xf6\xdfer\n3,fine\n")
    chunks = list(read_text(tmp_path / "rows.csv", ("text",), "text", Asked(), 1_000))
    assert [chunk.faults for chunk in chunks] == [{}, {500: NO_UNICODE}]
    assert sum(chunk.table.num_rows for chunk in chunks) == 1_502
    assert chunks[1].table["text"].to_pylist()[-1] == "fine"
    # Steps of the progress are kilobytes of the file.
    assert sum(chunk.steps for chunk in chunks) == (tmp_path / "rows.csv").stat().st_size // 1000


def test_a_txt_file_has_a_text_a_line_unless_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text('text\tid\n\n "quoted" \n')
    assert read(tmp_path / "rows.txt") == [{"text": "text\tid"}, {"text": '"quoted"'}]
    assert read(tmp_path / "rows.txt", text_column="text") == [{"text": ' "quoted" ', "id": None}]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (gzip.compress(b"id,text\n" * 9, mtime=0)[:20], "cannot be unpacked"),
        (b"id,body\n1,x\n", r"has no column 'text'; it has id, body"),
        ("größer, größer\n".encode() + b"\xff\n", "has bytes that are not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "rows.csv").write_bytes(data)
    with pytest.raises(DataError, match=says):
        read(tmp_path / "rows.csv")


def test_an_encoding_that_python_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)
    with pytest.raises(DataError, match="encoding must be one that Python knows, got 'klingon'"):
        open_text(tmp_path / "rows.csv", "klingon")


def test_a_zip_of_many_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", json.dumps({}))
    with pytest.raises(DataError, match="is a zip of 2 files"):
        read(tmp_path / "rows.zip")
