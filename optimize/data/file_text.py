"""A file's bytes as text: unpacked, and in the encoding that it was written in."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import IO, Any

from optimize.errors import DataError

MANY = 2_000
UNPACKING = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
"""What the libraries raise for packed files that are damaged."""
BLOCK_BYTES = 1 << 21
"""What is read of a file at once."""
ZIP = b"PK\x03\x04"
_XZ = b"\xfd7zXZ\x00"
LFS_POINTER = b"version https://git-lfs.github.com/"


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A file as it is, and what gzip, Zstandard, bzip2 or xz packed into it; the same twice if it is not packed.

    A zip with one file in it counts as packed, and an Excel file, a zip of many, does not. Raises one of UNPACKING.
    """
    with path.open("rb") as file, ExitStack() as stack:
        start = file.read(len(_XZ))
        file.seek(0)
        yield file, stack.enter_context(_unpacking(file, start))


def _unpacking(file: IO[bytes], start: bytes) -> Any:
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if start.startswith(b"BZh"):
        return bz2.open(file)
    if start.startswith(_XZ):
        return lzma.open(file)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow

        return pyarrow.CompressedInputStream(pyarrow.PythonFile(file), "zstd")
    if start.startswith(ZIP):
        archive = zipfile.ZipFile(file)
        files = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(files) == 1:
            return archive.open(files[0])
        file.seek(0)
    return nullcontext(file)


def blocks(path: Path, advance: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """The unpacked bytes of a file, block by block; `advance` is told of so many more bytes of the file itself.

    Raises DataError for a packed file that is damaged.
    """
    try:
        with opened(path) as (file, inside):
            done = 0
            while block := inside.read(BLOCK_BYTES):
                yield block
                there = file.tell()
                advance(there - done)
                done = there
    except UNPACKING as error:
        raise DataError(f"data {path} cannot be read ({reason(error)}); bring the whole file") from None


def reason(error: Exception) -> str:
    """The first line of a library's message, which never quotes rows: pandas and pyarrow name the place."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0][:200]


def as_text(data: bytes, source: str, encoding: str | None = None) -> tuple[str, str | None]:
    """The text in `data`, and a sentence if it is not UTF-8; see `encoding_of`."""
    name, note = encoding_of(lambda: iter([data]), source, encoding)
    return "".join(texts_in(iter([data]), name, source)), note


def encoding_of(
    read: Callable[[], Iterator[bytes]], source: str, encoding: str | None = None
) -> tuple[str, str | None]:
    """The encoding of a file whose blocks `read` gives, and a sentence if it is found out and not UTF-8.

    It is found by byte order mark, by zero bytes (UTF-16), and by whether all is UTF-8; what is left is Windows'
    cp1252, or latin-1. Raises DataError for UTF-8 with damage, and for an `encoding` that nobody knows.
    """
    name = encoding or found_encoding(read, source)
    try:
        codecs.getincrementaldecoder(name)
    except LookupError:
        raise DataError(
            f"data {source}: encoding must be one that Python knows, got {name!r}; try 'utf-8', 'cp1252' or 'shift_jis'"
        ) from None
    note = f"it is read as {name}, since it is not UTF-8; if that is wrong, set `encoding`"
    return name, None if encoding or name.startswith("utf-8") else note


def texts_in(read: Iterator[bytes], name: str, source: str) -> Iterator[str]:
    """The text of each block, without a byte order mark. Raises DataError where the encoding `name` does not fit."""
    decoder = codecs.getincrementaldecoder(name)()
    done, mark = 0, "\ufeff"
    try:
        for block in chain(read, [b""]):
            text = decoder.decode(block, final=not block)
            done += len(block)
            if text:
                yield text.removeprefix(mark)
                mark = ""
    except UnicodeError as error:
        kept = len(decoder.getstate()[0])  # of a character that the block before has the start of
        raise DataError(
            f"data {source} is not {name} from byte {done - kept + getattr(error, 'start', 0):,} on; name its encoding "
            "with `encoding`, or save it as UTF-8"
        ) from None


def found_encoding(read: Callable[[], Iterator[bytes]], source: str) -> str:
    """The encoding of a text, or of the whole lines that it begins with. Raises DataError for UTF-8 with damage."""
    start = next(read(), b"")[:MANY]
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start.count(0) > len(start) // 4:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    line = _first_damage(read())
    if line is None:
        return "utf-8"
    _require_no_damage(read(), source, line)
    return "cp1252" if _fits(read(), "cp1252") else "latin-1"


def _fits(read: Iterator[bytes], name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    try:
        for block in read:
            decoder.decode(block)
    except UnicodeDecodeError:
        return False
    return True


def _first_damage(read: Iterator[bytes]) -> int | None:
    """The line of the first bytes that are not UTF-8; None where there are none."""
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    try:
        for block in read:
            decoder.decode(block)
            lines += block.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return lines + error.object.count(b"\n", 0, error.start)
    return None


def _require_no_damage(read: Iterator[bytes], source: str, line: int) -> None:
    """Refuse a file of which the most is UTF-8: read as another encoding, all of its other letters would be wrong."""
    decoder, strange, foreign = codecs.getincrementaldecoder("utf-8")("surrogateescape"), 0, 0
    for block in read:
        text = decoder.decode(block)
        escaped = sum("\udc80" <= character <= "\udcff" for character in text)
        strange += escaped
        foreign += sum(not character.isascii() for character in text) - escaped
    if foreign > strange:
        raise DataError(
            f"data {source}: line {line:,} has bytes that are not UTF-8, and the rest of the file is; mend the line, "
            "or name another encoding with `encoding`"
        )
