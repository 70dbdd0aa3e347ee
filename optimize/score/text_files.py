"""Tables that are text: CSV and its kin, JSON lines, lines. They are read as they come, packed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson
import pyarrow

from optimize.data.delimited import NAMES, STATED, found_delimiter
from optimize.data.file_text import LFS_POINTER, UNPACKING, found_encoding
from optimize.data.rows import Fault
from optimize.data.tables import JSON, USUAL, suffix_of
from optimize.errors import DataError
from optimize.score.arrow import table_of
from optimize.score.asked import Asked
from optimize.score.columns import Chunk, require_columns
from optimize.score.records import records

SAMPLE_BYTES = 1_000_000
KB = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """An open file of text. `encoding` is the one that was found or stated, `sample` its first lines."""

    path: Path
    raw: IO[bytes]
    lines: io.TextIOWrapper
    encoding: str
    sample: str

    def kilobytes(self) -> Iterator[int]:
        """How many more kilobytes of the file have been read, each time that it is asked."""
        before = 0
        while True:
            now = self.raw.tell() // KB
            yield now - before
            before = now


def open_text(path: Path, encoding: str | None) -> TextFile:
    """Open a file as text. Raises DataError if it is empty, damaged or in no encoding that Python knows."""
    try:
        with path.open("rb") as raw:
            sample = _unpacked(path, raw).read(SAMPLE_BYTES)
        if sample.startswith(LFS_POINTER):
            raise DataError(f"data {path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`")
        # A letter that the sample ends within is no damage.
        whole = sample[: sample.rfind(b"\n") + 1] or sample
        looked_at = whole if len(sample) == SAMPLE_BYTES else sample
        name = encoding or found_encoding(lambda: iter([looked_at]), str(path))
        raw = path.open("rb")
        # Bytes that are no text become surrogates, which the cascade refuses row by row.
        damage = "replace" if name.startswith("utf-16") else "surrogateescape"
        marked = "utf-8-sig" if name == "utf-8" else name
        lines = io.TextIOWrapper(cast(Any, _unpacked(path, raw)), encoding=marked, errors=damage, newline="")
        text = sample.decode(name, errors="replace").removeprefix("\ufeff")
    except LookupError:
        raise DataError(
            f"data {path}: encoding must be one that Python knows, got {encoding!r}; try utf-8, cp1252 or shift_jis"
        ) from None
    except UNPACKING as error:
        raise DataError(f"data {path} cannot be unpacked ({type(error).__name__}); make the file again") from None
    if not text.strip():
        raise DataError(f"data {path} is empty; bring the file with its rows")
    return TextFile(path=path, raw=raw, lines=lines, encoding=name, sample=text)


def _unpacked(path: Path, raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.BZ2File(raw))
    if start.startswith(b"\xfd7zXZ"):
        return cast(IO[bytes], lzma.LZMAFile(raw))
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(IO[bytes], io.BufferedReader(cast(Any, pyarrow.CompressedInputStream(raw, "zstd"))))
    if start.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(raw)
        files = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(files) != 1:
            raise DataError(f"data {path} is a zip of {len(files)} files; bring one table, or unpack it")
        return archive.open(files[0])
    return raw


def is_lines(path: Path, *, columns_stated: bool) -> bool:
    """Whether a file has one text a line: a .txt file, unless the command says that it has columns."""
    return suffix_of(path) == ".txt" and not columns_stated


def read_text(path: Path, wanted: Sequence[str], kind: str, asked: Asked, size: int) -> Iterator[Chunk]:
    """The rows of a table that is text, in chunks of at most `size`."""
    file = open_text(path, asked.encoding)
    suffix = suffix_of(path)
    try:
        if suffix in JSON or (suffix not in (".csv", ".tsv") and file.sample.lstrip().startswith("{")):
            yield from _json_lines(file, wanted, kind, size)
        elif is_lines(path, columns_stated=bool(asked.text_column or asked.delimiter)):
            yield from _plain_lines(file, wanted, size)
        else:
            yield from _delimited(file, wanted, kind, asked.delimiter, size)
    except UNPACKING as error:
        raise DataError(f"data {path} cannot be unpacked ({type(error).__name__}); make the file again") from None
    finally:
        file.raw.close()


def _plain_lines(file: TextFile, wanted: Sequence[str], size: int) -> Iterator[Chunk]:
    kilobytes = file.kilobytes()
    lines = (line for line in (each.strip() for each in file.lines) if line)
    for part in _batches(lines, size):
        faults = {place: NO_UNICODE for place, line in enumerate(part) if _broken(line)}
        yield Chunk(table_of({wanted[0]: part}), faults, next(kilobytes))


NO_UNICODE = "must be valid Unicode, got bytes that are not text; name the file's encoding with --encoding"


def _delimited(file: TextFile, wanted: Sequence[str], kind: str, delimiter: str | None, size: int) -> Iterator[Chunk]:
    stated = STATED.match(file.sample)
    if stated:
        file.lines.readline()
        delimiter = delimiter or stated[1]
    sign = delimiter or found_delimiter(
        file.sample[stated.end() :] if stated else file.sample, wanted, USUAL.get(suffix_of(file.path), ",")
    )
    rows = records(file.lines, sign)
    names = [name.strip() for name in next(rows, [])]
    require_columns(names, wanted, kind, str(file.path))
    kilobytes, width = file.kilobytes(), len(names)
    too_many = f"more columns than the header's {width}, as a text with {NAMES.get(sign, repr(sign))} and no quotes has"
    places = [names.index(name) for name in wanted]
    for part in _batches(rows, size):
        faults = {place: too_many for place, row in enumerate(part) if any(cell.strip() for cell in row[width:])}
        filled = [[*row[:width], *[None] * (width - len(row))] for row in part]
        faults |= {place: NO_UNICODE for place, row in enumerate(filled) if any(_broken(row[each]) for each in places)}
        columns = dict(zip(names, zip(*filled, strict=True), strict=True))
        yield Chunk(table_of(columns), faults, next(kilobytes))


def _json_lines(file: TextFile, wanted: Sequence[str], kind: str, size: int) -> Iterator[Chunk]:
    kilobytes = file.kilobytes()
    names: dict[str, None] = {}
    for part in _batches((line for line in file.lines if line.strip()), size):
        rows = [_object(line) for line in part]
        faults = {place: row.what for place, row in enumerate(rows) if isinstance(row, Fault)}
        objects: list[dict[str, Any]] = [{} if isinstance(row, Fault) else row for row in rows]
        names |= dict.fromkeys(name for row in objects for name in row)
        if objects != [{}] * len(objects):
            require_columns(list(names), wanted, kind, str(file.path))
        names |= dict.fromkeys(wanted)
        for place, row in enumerate(objects):
            if any(_broken(row.get(name)) for name in wanted):
                faults[place] = NO_UNICODE
        yield Chunk(table_of({name: [row.get(name) for row in objects] for name in names}), faults, next(kilobytes))


def _object(line: str) -> dict[str, Any] | Fault:
    """The object on a line. Python's own reader takes what orjson refuses: NaN, and lone halves of surrogates."""
    try:
        value = orjson.loads(line)
    except ValueError:
        try:
            value = json.loads(line)
        except ValueError:
            return Fault("must be JSON, got something else; mend the line")
    if isinstance(value, dict):
        return value
    return Fault(f"must be an object with the columns as keys, got {type(value).__name__}; mend the line")


def _broken(cell: object) -> bool:
    """Whether a cell is a text with bytes, or halves of letters, that are no Unicode."""
    if not isinstance(cell, str):
        return False
    try:
        cell.encode()
    except UnicodeEncodeError:
        return True
    return False


def _batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(rows)
    while batch := list(itertools.islice(rest, size)):
        yield batch
