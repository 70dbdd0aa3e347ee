from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from optimize.data.file_text import UNPACKING, as_text, unpacked
from optimize.errors import DataError

TEXT = "text,label\nGrüße,a\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_unpacked(pack: type[bytes]) -> None:
    assert unpacked(pack(TEXT.encode())) == TEXT.encode()


def test_a_zip_of_several_files_stays_packed() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__MACOSX/._a.csv", "x")
        archive.writestr("a.csv", TEXT)
    assert unpacked(file.getvalue()) == TEXT.encode()
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("b.csv", TEXT)
    assert unpacked(file.getvalue()) == file.getvalue()


def test_a_damaged_file_raises_what_is_caught() -> None:
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        with pytest.raises(UNPACKING):
            unpacked(pack(TEXT.encode())[:-9])


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
