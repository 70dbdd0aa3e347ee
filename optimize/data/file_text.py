"""A file's bytes as text: unpacked, and in the encoding that it was written in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

from optimize.errors import DataError

MANY = 2_000
UNPACKING = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
"""What the libraries raise for packed files that are damaged."""
LFS_POINTER = b"version https://git-lfs.github.com/"


def unpacked(data: bytes) -> bytes:
    """The bytes inside a file that gzip, Zstandard, bzip2 or xz packed; other bytes as they are.

    A zip with one file in it counts as packed, and an Excel file, a zip of many, does not. Raises one of UNPACKING.
    """
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"BZh"):
        return bz2.decompress(data)
    if data.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow

        stream: bytes = pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd").read()
        return stream
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
            return archive.read(files[0]) if len(files) == 1 else data
    return data


def as_text(data: bytes, source: str, encoding: str | None = None) -> tuple[str, str | None]:
    """The text, without a byte order mark, and a sentence if it is not UTF-8.

    The encoding is found by byte order mark, by zero bytes (UTF-16), and by whether all is UTF-8; what is left is
    Windows' cp1252, or latin-1. Raises DataError for UTF-8 with damage, and where `encoding` does not fit.
    """
    name = encoding or found_encoding(data, source)
    try:
        text = data.decode(name)
    except LookupError:
        raise DataError(
            f"data {source}: encoding must be one that Python knows, got {name!r}; try 'utf-8', 'cp1252' or 'shift_jis'"
        ) from None
    except UnicodeError as error:
        raise DataError(
            f"data {source} is not {name} from byte {getattr(error, 'start', 0):,} on; name its encoding with "
            "`encoding`, or save it as UTF-8"
        ) from None
    note = f"it is read as {name}, since it is not UTF-8; if that is wrong, set `encoding`"
    return text.removeprefix("\ufeff"), None if encoding or name.startswith("utf-8") else note


def found_encoding(data: bytes, source: str) -> str:
    """The encoding of a text, or of the whole lines that it begins with. Raises DataError for UTF-8 with damage."""
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = data[:MANY]
    if start.count(0) > len(start) // 4:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        _require_no_damage(data, source, error.start)
    try:
        data.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError:
        return "latin-1"


def _require_no_damage(data: bytes, source: str, start: int) -> None:
    """Refuse a file of which the most is UTF-8: read as another encoding, all of its other letters would be wrong."""
    text = data.decode("utf-8", errors="surrogateescape")
    strange = sum("\udc80" <= character <= "\udcff" for character in text)
    foreign = sum(not character.isascii() for character in text) - strange
    if foreign > strange:
        line = data.count(b"\n", 0, start) + 1
        raise DataError(
            f"data {source}: line {line:,} has bytes that are not UTF-8, and the rest of the file is; mend the line, "
            "or name another encoding with `encoding`"
        )
