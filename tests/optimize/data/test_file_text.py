from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.data import file_text
from optimize.data.file_text import as_text, blocks, encoding_of, opened, texts_in
from optimize.errors import DataError

TEXT = "text,label\nGrüße,a\n"


def unpacked(data: bytes, folder: Path) -> bytes:
    (folder / "t.csv").write_bytes(data)
    with opened(folder / "t.csv") as (_, inside):
        return inside.read()


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, "zstd", asbytes=True))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_packed_file_is_unpacked(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert unpacked(pack(TEXT.encode()), tmp_path) == TEXT.encode()


def test_a_zip_of_several_files_stays_packed(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__MACOSX/._a.csv", "x")
        archive.writestr("a.csv", TEXT)
    assert unpacked(file.getvalue(), tmp_path) == TEXT.encode()
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("b.csv", TEXT)
    assert unpacked(file.getvalue(), tmp_path) == file.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_file_is_refused(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(pack(TEXT.encode() * 1000)[:-9])
    with pytest.raises(DataError, match=r"t.csv cannot be read \(.+\); bring the whole file"):
        list(blocks(tmp_path / "t.csv"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_blocks_tell_how_much_of_the_file_itself_is_read(
    pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_text, "BLOCK_BYTES", 1000)
    (tmp_path / "t.csv").write_bytes(pack(TEXT.encode() * 1000))
    told: list[int] = []
    assert b"".join(blocks(tmp_path / "t.csv", told.append)) == TEXT.encode() * 1000
    assert sum(told) == (tmp_path / "t.csv").stat().st_size


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_the_encoding_is_found(encoding: str) -> None:
    text, note = as_text(TEXT.encode(encoding), "t.csv")
    assert text == TEXT
    assert (note is None) == encoding.startswith("utf-8")


def test_a_byte_that_cp1252_lacks_makes_it_latin_1() -> None:
    assert as_text(b"text\n\x81\xe4\n", "t.csv") == (
        "text\n\x81ä\n",
        "it is read as latin-1, since it is not UTF-8; if that is wrong, set `encoding`",
    )


def test_damage_in_utf_8_is_named_by_its_line() -> None:
    with pytest.raises(
        DataError, match=r"data t.csv: line 3 has bytes that are not UTF-8, and the rest of the file is"
    ):
        as_text("text\näöü\n".encode() + b"a\xe4b\n", "t.csv")


@settings(max_examples=40)
@given(
    st.text(st.sampled_from("aä€😀\n\r"), max_size=12),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "shift_jis", None]),
    st.booleans(),
    st.integers(1, 5),
)
def test_a_file_in_blocks_is_read_as_the_whole_file(text: str, encoding: str | None, damaged: bool, size: int) -> None:
    data = text.encode(encoding or "utf-8", errors="replace") + (b"\x81\xe4" if damaged else b"")

    def read() -> Iterator[bytes]:
        return (data[start : start + size] for start in range(0, len(data), size))

    def result(read: Callable[[], Iterator[bytes]]) -> object:
        try:
            name, note = encoding_of(read, "t.csv", encoding)
            return name, note, "".join(texts_in(read(), name, "t.csv"))
        except DataError:
            return "refused"

    assert result(read) == result(lambda: iter([data]))


def test_bytes_that_do_not_fit_are_named_by_their_place() -> None:
    with pytest.raises(DataError, match=r"data t.csv is not ascii from byte 5 on; name its encoding"):
        list(texts_in(iter([b"abc", b"de\xe4"]), "ascii", "t.csv"))
    with pytest.raises(DataError, match=r"data t.csv is not utf-8 from byte 2 on"):
        list(texts_in(iter([b"ab\xe2", b"\x82", b"c"]), "utf-8", "t.csv"))
