"""Tables of texts, or of images, and their labels: a file, or a folder of parts."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from optimize.data import delimited, file_text, stored
from optimize.data.rows import Found, Kind, Table, existing
from optimize.data.said import columns, counted, nearest, some
from optimize.data.sources import FilesData
from optimize.data.split_names import SplitWord, divided, split_word
from optimize.errors import DataError

KINDS = "CSV, TSV, JSON, JSON lines, Parquet, Arrow, Feather or Excel (.xlsx); CSV and JSON also as .gz, .zst or .zip"
USUAL = {".tsv": "\t", ".tab": "\t", ".txt": "\t", ".psv": "|"}
JSON = {".json", ".jsonl", ".ndjson"}
BINARY = {".parquet", ".pq", ".feather", ".arrow", ".xlsx", ".xlsm"}
PARTS = {".csv", ".tsv", *JSON, *BINARY}
PACKED = {".gz", ".zst", ".bz2", ".xz", ".zip"}
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
# The other names that people give to the two columns.
OTHER_NAMES = {
    "text": ("sentence", "content", "message", "review", "body", "tweet", "utterance", "sms", "description"),
    "text_pair": ("hypothesis", "sentence2", "question2", "text2", "text_b"),
    "label": ("labels", "class", "category", "target", "sentiment", "intent", "tag", "y"),
    "image": ("img", "picture", "photo", "file", "file_name", "filename", "path"),
}


def read_tables(config: FilesData, root: Path) -> tuple[Found, Found | None]:
    """The rows of the table or tables that `config` names, and those of the holdout."""
    full = existing(config.train, root)
    if full.is_file():
        train, held = [full], None
        notes: list[str] = []
    else:
        train, held, notes = parts_of(full, config)
    found = _joined(train, full, config, notes)
    if config.holdout is not None:
        other = existing(config.holdout, root)
        return found, _joined([other] if other.is_file() else parts_of(other, None)[0], other, config, [])
    return found, _joined(held, full, config, []) if held else None


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


def _joined(paths: Sequence[Path], source: Path, config: FilesData, notes: list[str]) -> Found:
    keys = {"image_column": config.image_column} if config.image_column else {"text_column": config.text_column}
    keys["label_column"] = config.label_column
    if config.text_pair_column:
        keys["text_pair_column"] = config.text_pair_column
    wanted = tuple(keys.values())
    kind: Kind = "image" if config.image_column else "text"
    joined = Found(kind, [], [], [], source.name, keys[next(iter(keys))], config.label_column, notes=list(notes))
    inputs: list[object] = []
    labels: list[object] = []
    seconds: list[object] = []
    for path in paths:
        table = read_table(path, wanted, config)
        _require_columns(table, keys, path)
        name = path.name if path == source else path.relative_to(source).as_posix()
        joined.faults |= {place + len(inputs): fault for place, fault in table.faults.items()}
        cells = table.columns[wanted[0]]
        inputs += [_content(cell, path.parent) for cell in cells] if config.image_column else cells
        labels += table.columns[wanted[1]]
        seconds += table.columns[wanted[2]] if config.text_pair_column else ()
        joined.ids += [f"{name}:{place}" for place in range(table.size)]
        joined.notes = list(dict.fromkeys([*joined.notes, *table.notes]))
        joined.classes = table.classes or joined.classes
    if config.text_pair_column:
        joined = dataclasses.replace(joined, seconds=seconds, second_name=config.text_pair_column)
    return dataclasses.replace(joined, inputs=inputs, labels=labels)


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


def read_table(path: Path, wanted: Sequence[str], config: FilesData) -> Table:
    """The wanted columns of one file. What it is stands in its first bytes, and else in its name."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(b"PAR1"):
            return stored.read_parquet(path, wanted)
        if start.startswith((b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")):
            return stored.read_arrow(path, wanted)
        if start.startswith(OLD_EXCEL):
            raise ValueError("it is Excel's old format; save it as .xlsx")
        data = file_text.unpacked(path.read_bytes())
        if data.startswith(b"PAR1"):
            return stored.read_parquet(io.BytesIO(data), wanted)
        if data.startswith(b"PK\x03\x04"):
            return stored.read_excel(io.BytesIO(data), wanted)
    except (*file_text.UNPACKING, KeyError) as error:
        raise DataError(f"data {path} cannot be read ({_reason(error)}); it must be {KINDS}") from None
    return _read_text(data, path, wanted, config)


def _reason(error: Exception) -> str:
    """The first line of a library's message, which never quotes rows: pandas and pyarrow name the place."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0][:200]


def _read_text(data: bytes, path: Path, wanted: Sequence[str], config: FilesData) -> Table:
    if data.startswith(file_text.LFS_POINTER):
        raise DataError(f"data {path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`")
    if suffix_of(path) in BINARY:
        raise DataError(f"data {path} cannot be read (it is named {suffix_of(path)} and is none, or is damaged)")
    text, note = file_text.as_text(data, str(path), config.encoding)
    if not text.strip():
        raise DataError(f"data {path} is empty; bring the file with a header and rows")
    suffix = suffix_of(path)
    if suffix in JSON or (suffix not in (".csv", ".tsv") and text.lstrip().startswith(("{", "["))):
        table = stored.read_json(text, wanted, str(path))
    else:
        table = delimited.read_delimited(
            text, wanted, USUAL.get(suffix, ","), label=wanted[1], delimiter=config.delimiter
        )
    table.notes[:0] = [note] if note else []
    return table


def _require_columns(table: Table, keys: Mapping[str, str], path: Path) -> None:
    for key, column in keys.items():
        if column not in table.columns:
            raise DataError(
                f"data {path} has no column {column!r}; it has {columns(table.names)}: "
                f"{_remedy(key, column, [name for name in table.names if name not in keys.values()])}"
            )


def _remedy(key: str, column: str, free: Sequence[str]) -> str:
    """What to set; `free` are the names of the columns that the recipe does not use yet."""
    names = {name.casefold(): name for name in free}
    others = [names[other] for other in OTHER_NAMES.get(column, ()) if other in names]
    if close := nearest(column, free) or next(iter(others), None):
        return f'set {key} = "{close}"'
    if key == "text_column" and "image" in names:
        return f'set image_column = "{names["image"]}"'
    return f"set {'text_pair_column' if key == 'text_pair_column' else 'text_column'} and label_column"
