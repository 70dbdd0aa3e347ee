"""Tables of texts, or of images, and their labels: a file, or a folder of parts."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from optimize.data import delimited, file_text, stored
from optimize.data.cells import texts_of
from optimize.data.label_columns import labels_in, names_in
from optimize.data.rows import Fault, Found, Kind, Table, existing
from optimize.data.said import columns, counted, nearest, some
from optimize.data.sequences import row_ids
from optimize.data.sources import FilesData
from optimize.data.split_names import SplitWord, divided, split_word
from optimize.data.stored_texts import GrowingTexts
from optimize.errors import DataError
from optimize.progress import progress

KINDS = "CSV, TSV, JSON, JSON lines, Parquet, Arrow, Feather or Excel (.xlsx); CSV and JSON also as .gz, .zst or .zip"
USUAL = {".tsv": "\t", ".tab": "\t", ".txt": "\t", ".psv": "|"}
JSON = {".json", ".jsonl", ".ndjson"}
BINARY = {".parquet", ".pq", ".feather", ".arrow", ".xlsx", ".xlsm"}
PARTS = {".csv", ".tsv", *JSON, *BINARY}
PACKED = {".gz", ".zst", ".bz2", ".xz", ".zip"}
FIRST_ROWS = 20_000
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
# The other names that people give to the two columns.
OTHER_NAMES = {
    "text": ("sentence", "content", "message", "review", "body", "tweet", "utterance", "sms", "description"),
    "text_pair": ("hypothesis", "sentence2", "question2", "text2", "text_b"),
    "label": ("labels", "class", "category", "target", "sentiment", "intent", "tag", "y"),
    "image": ("img", "picture", "photo", "file", "file_name", "filename", "path"),
}


def read_tables(config: FilesData, root: Path, folder: Path | None = None) -> tuple[Found, Found | None]:
    """The rows of the table or tables that `config` names, and those of the holdout.

    Texts that do not fit into memory go to a file in `folder`.
    """
    full = existing(config.train, root)
    if full.is_file():
        train, held = [full], None
        notes: list[str] = []
    else:
        train, held, notes = parts_of(full, config)
    found = _joined(train, full, config, notes, folder)
    if config.holdout is not None:
        other = existing(config.holdout, root)
        files = [other] if other.is_file() else parts_of(other, None)[0]
        return found, _joined(files, other, config, [], folder)
    return found, _joined(held, full, config, [], folder) if held else None


def parts_of(folder: Path, config: FilesData | None) -> tuple[list[Path], list[Path] | None, list[str]]:
    """The tables of a folder in order of their names: to train on, and the holdout if the names say which it is."""
    notes: list[str] = []
    there = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    # Spark and others write files of their own, which start with an underscore.
    seen = [path for path in there if not any(part.startswith((".", "_")) for part in path.parts)]
    tables = [path for path in seen if suffix_of(path) in PARTS]
    kinds = sorted({suffix_of(path) for path in tables})
    if not tables:
        raise DataError(
            f'data {folder} has no tables in it; bring {KINDS}; for a folder of images set source = "folder"'
        )
    if len(kinds) > 1:
        raise DataError(f"data {folder} has tables of several kinds ({some(kinds)}); keep one, or name one file")
    if len(there) > len(tables):
        others = [path.name for path in there if path not in set(tables)]
        notes.append(f"left out: {counted(len(others), 'file')} not read as tables ({some(others)})")
    if config is None or config.holdout is not None:
        return [folder / path for path in tables], None, notes
    named = [(_word(path), folder / path) for path in tables]
    train, held = divided(named, to_choose_on=config.selection_from, notes=notes)
    return train, held, notes


def _word(path: PurePath) -> SplitWord | None:
    words = [split_word(part) for part in reversed(path.parts)]
    return next((word for word in words if word), None)


def suffix_of(path: PurePath) -> str:
    """The suffix that says what a table is, below the one that says how it is packed."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED]
    return suffixes[-1] if suffixes else ""


def _joined(paths: Sequence[Path], source: Path, config: FilesData, notes: list[str], folder: Path | None) -> Found:
    gathered = _Gathered(config, folder)
    ids = []
    with progress(f"{source.name} read", total=sum(path.stat().st_size for path in paths)) as advance:
        for path in paths:
            name = path.name if path == source else path.relative_to(source).as_posix()
            ids.append((name, gathered.add(path, name, advance)))
    kind: Kind = "image" if config.image_column else "text"
    return Found(
        kind,
        gathered.images if config.image_column else gathered.texts.done(),
        gathered.labels,
        row_ids(ids),
        source.name,
        config.image_column or config.text_column,
        config.label_column,
        classes=names_in(config.label_columns or ()) or gathered.classes,
        notes=list(dict.fromkeys([*notes, *gathered.notes])),
        faults=gathered.faults,
        seconds=gathered.seconds.done() if config.text_pair_column else None,
        second_name=config.text_pair_column or "",
    )


def _named(config: FilesData) -> list[tuple[str, str]]:
    """The columns to read as (setting, column): the inputs, then the labels, then the second texts."""
    first = ("image_column", config.image_column) if config.image_column else ("text_column", config.text_column)
    labels = [("label_columns", name) for name in config.label_columns or ()] or [("label_column", config.label_column)]
    return [first, *labels, *([("text_pair_column", config.text_pair_column)] if config.text_pair_column else [])]


class _Gathered:
    """The rows of several tables, one after the other."""

    def __init__(self, config: FilesData, folder: Path | None) -> None:
        self._named, self._config = _named(config), config
        self.images: list[object] = []
        self.texts = GrowingTexts(folder)
        self.seconds = GrowingTexts(folder)
        self.labels: list[Any] = []
        self.notes: list[str] = []
        self.faults: dict[int, Fault] = {}
        self.classes: tuple[str, ...] | None = None
        self._size = 0
        self._known: dict[str, str] = {}

    def add(self, path: Path, name: str, advance: Callable[[int], None]) -> int:
        """Add the rows of a table, which is called `name`; return how many it has."""
        size, last = 0, None
        for last in table_parts(path, [column for _, column in self._named], self._config, advance):
            if not last.more_names:
                _require_columns(last, self._named, path)
            self._add(last, path, row_ids([(name, size + last.size)])[size:])
            size += last.size
            self.notes += last.notes
            self.classes = last.classes or self.classes
        if last is not None:
            _require_columns(last, self._named, path)
        return size

    def _add(self, part: Table, path: Path, ids: Sequence[str]) -> None:
        config, faults = self._config, part.faults

        def cells(column: str) -> Sequence[Any]:
            return part.columns.get(column, [None] * part.size)

        if config.image_column:
            self.images.extend([_content(cell, path.parent) for cell in cells(config.image_column)])
        else:
            self.texts.extend(texts_of(cells(config.text_column), ids, config.text_column))
        if config.text_pair_column:
            self.seconds.extend(texts_of(cells(config.text_pair_column), ids, config.text_pair_column))
        if config.label_columns:
            stated = {name: cells(name) for name in config.label_columns}
            labels, unstated = labels_in(stated, several=config.multi_label)
            self.labels += labels
            faults = unstated | faults
        elif config.labels != "teacher":
            # A file with a million rows has as many copies of its few labels.
            known = self._known.setdefault
            self.labels += [known(cell, cell) if isinstance(cell, str) else cell for cell in cells(config.label_column)]
        self.faults |= {place + self._size: fault for place, fault in faults.items()}
        self._size += part.size


def _content(cell: object, folder: Path) -> object:
    """An image in a table: the path of its file, which starts at the table's folder, its bytes, or the hub's both."""
    if isinstance(cell, dict) and ("bytes" in cell or "path" in cell):
        cell = cell.get("bytes") or cell.get("path")
    if cell is not None and not isinstance(cell, str | bytes):
        raise DataError(
            f"data {folder}: an image must be its bytes or the path of its file, got {type(cell).__name__}; name the "
            "column of images as image_column"
        )
    return folder / cell.strip() if isinstance(cell, str) and cell.strip() else cell or None


def table_start(path: Path, wanted: Sequence[str], config: FilesData) -> Table:
    """The wanted columns of the first rows of a file, some FIRST_ROWS of them."""
    parts: list[Table] = []
    for part in table_parts(path, wanted, config):
        parts.append(part)
        if sum(each.size for each in parts) >= FIRST_ROWS:
            break
    names = list(dict.fromkeys(name for part in parts for name in part.names))
    columns = {
        name: [cell for part in parts for cell in part.columns.get(name, [None] * part.size)]
        for name in wanted
        if name in names
    }
    return Table(names, columns, sum(part.size for part in parts))


def table_parts(
    path: Path, wanted: Sequence[str], config: FilesData, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Table]:
    """The wanted columns of one file, part by part. What it is stands in its first bytes, and else in its name.

    `advance` is told of so many more bytes of the file that are read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(OLD_EXCEL):
            raise ValueError("it is Excel's old format; save it as .xlsx")
        parts = _binary_parts(path, start, wanted)
        if parts is not None:
            size = path.stat().st_size
            for part in parts:
                yield part
                advance(size * part.size // max(part.of_rows, 1))
            return
    except (*file_text.UNPACKING, KeyError) as error:
        raise DataError(f"data {path} cannot be read ({file_text.reason(error)}); it must be {KINDS}") from None
    yield from _text_parts(path, wanted, config, advance)


def _binary_parts(path: Path, start: bytes, wanted: Sequence[str]) -> Iterator[Table] | None:
    """The parts of a file that is no text; None for a text."""
    if start.startswith(b"PAR1"):
        return stored.parquet_parts(path, wanted)
    if start.startswith((b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")):
        return stored.arrow_parts(path, wanted)
    with file_text.opened(path) as (_, inside):
        head = inside.read(16)
        if head.startswith(b"PAR1"):
            return stored.parquet_parts(io.BytesIO(head + inside.read()), wanted)
        if head.startswith(file_text.ZIP):
            return iter([stored.read_excel(io.BytesIO(head + inside.read()), wanted)])
    return None


def _text_parts(
    path: Path, wanted: Sequence[str], config: FilesData, advance: Callable[[int], None]
) -> Iterator[Table]:
    start = next(file_text.blocks(path), b"")
    if start.startswith(file_text.LFS_POINTER):
        raise DataError(f"data {path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`")
    if suffix_of(path) in BINARY:
        raise DataError(f"data {path} cannot be read (it is named {suffix_of(path)} and is none, or is damaged)")
    name, note = file_text.encoding_of(lambda: file_text.blocks(path), str(path), config.encoding)
    texts = file_text.texts_in(file_text.blocks(path, advance), name, str(path))
    first = next((text for text in texts if text.strip()), "")
    if not first:
        raise DataError(f"data {path} is empty; bring the file with a header and rows")
    suffix, texts = suffix_of(path), chain([first], texts)
    if suffix in JSON or (suffix not in (".csv", ".tsv") and first.lstrip().startswith(("{", "["))):
        parts = stored.json_parts(texts, wanted, str(path))
    else:
        usual = USUAL.get(suffix, ",")
        parts = delimited.delimited_parts(texts, wanted, usual, label=wanted[1], delimiter=config.delimiter)
    for number, table in enumerate(parts):
        if note and number == 0:
            table.notes.insert(0, note)
        yield table


def _require_columns(table: Table, named: Sequence[tuple[str, str]], path: Path) -> None:
    used = {column for _, column in named}
    for key, column in named:
        if column not in table.columns:
            raise DataError(
                f"data {path} has no column {column!r}; it has {columns(table.names)}: "
                f"{_remedy(key, column, [name for name in table.names if name not in used])}"
            )


def _remedy(key: str, column: str, free: Sequence[str]) -> str:
    """What to set; `free` are the names of the columns that the recipe does not use yet."""
    names = {name.casefold(): name for name in free}
    others = [names[other] for other in OTHER_NAMES.get(column, ()) if other in names]
    if close := nearest(column, free) or next(iter(others), None):
        return f'put "{close}" in label_columns' if key == "label_columns" else f'set {key} = "{close}"'
    if key == "label_columns":
        return "name the columns of labels in label_columns"
    if key == "text_column" and "image" in names:
        return f'set image_column = "{names["image"]}"'
    return f"set {'text_pair_column' if key == 'text_pair_column' else 'text_column'} and label_column"
