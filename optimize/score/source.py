"""What is scored: a table, a folder of tables, or a folder or a zip of images, chunk by chunk."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from optimize.data.folders import files_of
from optimize.data.rows import existing
from optimize.data.sources import FilesData
from optimize.data.tables import BINARY, parts_of, suffix_of, table_parts, table_start
from optimize.errors import DataError
from optimize.score.arrow import table_of
from optimize.score.asked import Asked
from optimize.score.columns import Chunk, images_of, require_columns, texts_of
from optimize.score.scorer import Content, ImageBytes
from optimize.score.text_files import KB, read_text

FILE = "file"
"""The column of an image's name, where images lie in a folder or a zip."""
PARQUET, ARROW = b"PAR1", (b"ARROW1", b"\xff\xff\xff\xff")

Contents = Callable[[pyarrow.Table, Mapping[int, str]], list[Content]]
"""Reads the cascade's inputs from the table and the faults of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An input that was found. `form` is what its files are; `total` is how much there is, in `unit`."""

    name: str
    form: Literal["images", "parquet", "tables"]
    folder: Path
    """Where names of images start."""
    files: Sequence[Path]
    total: int
    contents: Contents
    read: Callable[[int], Iterator[Chunk]]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def unit(self) -> str:
        """What `total` and the steps of the chunks count: rows where the files know them."""
        return "kB" if self.form == "tables" else "rows"

    @property
    def digest(self) -> str:
        """Changes when a file comes, goes, or is written anew. What is in the files is not read for it."""
        digest = hashlib.sha256()
        for path in self.files:
            stat = path.stat()
            digest.update(json.dumps([path.name, stat.st_size, stat.st_mtime_ns]).encode())
        return digest.hexdigest()

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The rows in chunks of at most `size`, the same in every run."""
        return regrouped(self.read(size), size)


def open_source(path: Path, asked: Asked, kind: str, *, pairs: bool) -> Source:
    """Find what there is to score. Raises DataError if there is nothing that a cascade of this kind takes."""
    wanted = asked.input_columns(kind, pairs=pairs)
    full = existing(path, Path())
    if kind == "image" and asked.image_column is None and (full.is_dir() or _is_zip_of_images(full)):
        return _images(full)
    notes: list[str] = []
    files = [full]
    if full.is_dir():
        files, _, notes = parts_of(full, None)
    folder = (full if full.is_dir() else full.parent).absolute()
    contents = images_of(wanted[0], folder) if kind == "image" else texts_of(wanted)
    counted = [_rows_in(file) for file in files]
    by_rows = None not in counted
    total = sum(filter(None, counted)) if by_rows else sum(file.stat().st_size // KB for file in files)

    def read(size: int) -> Iterator[Chunk]:
        for file in files:
            for chunk in read_file(file, wanted, kind, asked, size):
                yield replace(chunk, steps=chunk.table.num_rows) if by_rows else chunk

    return Source(
        name=full.name,
        form="parquet" if by_rows else "tables",
        folder=folder,
        files=files,
        total=total,
        contents=contents,
        read=read,
        notes=notes,
    )


def regrouped(chunks: Iterable[Chunk], size: int) -> Iterator[Chunk]:
    """Small chunks that follow each other and have the same columns, as one of at most `size` rows."""
    waiting: list[Chunk] = []
    rows = 0
    for chunk in chunks:
        fits = waiting and chunk.table.schema.equals(waiting[0].table.schema, check_metadata=True)
        if waiting and (not fits or rows + chunk.table.num_rows > size):
            yield _one(waiting)
            waiting, rows = [], 0
        waiting.append(chunk)
        rows += chunk.table.num_rows
    if waiting:
        yield _one(waiting)


def _one(chunks: Sequence[Chunk]) -> Chunk:
    faults: dict[int, str] = {}
    rows = 0
    for chunk in chunks:
        faults |= {rows + place: fault for place, fault in chunk.faults.items()}
        rows += chunk.table.num_rows
    return Chunk(pyarrow.concat_tables([chunk.table for chunk in chunks]), faults, sum(c.steps for c in chunks))


def _is_zip_of_images(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and zipfile.is_zipfile(path)


def _images(full: Path) -> Source:
    notes: list[str] = []
    found = files_of(full, notes)
    names = [file.id for file in found if file.is_image]
    if not names:
        raise DataError(f"data {full} has no images in it; bring .jpg, .png, .webp and the like")
    if others := sum(bool(file.parts[-1]) for file in found) - len(names):
        notes.append(f"left out: {others:,} files not read as images")
    archive = None if full.is_dir() else zipfile.ZipFile(full)

    def contents(table: pyarrow.Table, _faults: Mapping[int, str]) -> list[Content]:
        there = [full / name if archive is None else zipfile.Path(archive, name) for name in table[FILE].to_pylist()]
        return [ImageBytes(FILE, path) for path in there]

    def read(size: int) -> Iterator[Chunk]:
        for start in range(0, len(names), size):
            part = names[start : start + size]
            yield Chunk(table_of({FILE: part}), {}, len(part))

    return Source(
        name=full.name,
        form="images",
        folder=full.absolute(),
        files=[full] if archive else [full / name for name in names],
        total=len(names),
        contents=contents,
        read=read,
        notes=notes,
    )


def _rows_in(path: Path) -> int | None:
    """The rows of a Parquet file, which knows them; None for other files."""
    return int(_parquet(path).metadata.num_rows) if _start(path).startswith(PARQUET) else None


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _parquet(path: Path) -> Any:
    with _damage_said(path):
        return pyarrow.parquet.ParquetFile(path)


@contextmanager
def _damage_said(path: Path) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"data {path} cannot be read ({type(error).__name__}); it is damaged: make it again") from None


def read_file(path: Path, wanted: Sequence[str], kind: str, asked: Asked, size: int) -> Iterator[Chunk]:
    """The rows of one table, in chunks of at most `size`."""
    start = _start(path)
    if start.startswith(PARQUET):
        yield from _of_arrow(_parquet(path).iter_batches(batch_size=size), wanted, kind, path, size)
    elif start.startswith(ARROW):
        with _damage_said(path), pyarrow.memory_map(str(path)) as mapped:
            of_file = start.startswith(ARROW[0])
            stored = pyarrow.ipc.open_file(mapped) if of_file else pyarrow.ipc.open_stream(mapped)
            batches = map(stored.get_batch, range(stored.num_record_batches)) if of_file else stored
            yield from _of_arrow(batches, wanted, kind, path, size)
    elif suffix_of(path) in {*BINARY, ".json"} or path.suffix.lower() == ".xls":
        yield from _whole(path, wanted, kind, asked, size)
    else:
        yield from read_text(path, wanted, kind, asked, size)


def _of_arrow(batches: Iterable[Any], wanted: Sequence[str], kind: str, path: Path, size: int) -> Iterator[Chunk]:
    left = path.stat().st_size // KB
    with _damage_said(path):
        for batch in batches:
            require_columns(batch.schema.names, wanted, kind, str(path))
            # Metadata of the schema speaks of columns as they were, such as the index of pandas.
            table = pyarrow.Table.from_batches([batch]).replace_schema_metadata(None)
            for start in range(0, table.num_rows, size):
                yield Chunk(table.slice(start, size), {}, left)
                left = 0


def _whole(path: Path, wanted: Sequence[str], kind: str, asked: Asked, size: int) -> Iterator[Chunk]:
    """Excel, and JSON that is one array: files that are read at once."""
    config = FilesData(
        source="files", train=path, label_column=wanted[0], encoding=asked.encoding, delimiter=asked.delimiter
    )
    names = table_start(path, [*wanted, wanted[0]], config).names
    require_columns(names, wanted, kind, str(path))
    steps = path.stat().st_size // KB
    for part in table_parts(path, [*wanted, *(name for name in names if name not in wanted)], config):
        table = table_of({name: part.columns.get(name, [None] * part.size) for name in names})
        for start in range(0, table.num_rows, size):
            yield Chunk(table.slice(start, size), {}, steps)
            steps = 0
