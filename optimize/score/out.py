"""Writes OUT from its parts, once and whole: CSV, TSV, NDJSON or Parquet by its suffix."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet

from optimize.errors import ScoreError
from optimize.score.arrow import as_json, fitted, is_json

LIST_SIGN = "|"
"""Stands between the labels of a set in CSV, as `label_separator` in a recipe's data."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def require_suffix(out: Path) -> None:
    """Raise ScoreError unless OUT is of a kind that is written."""
    if out.suffix.lower() not in WRITERS:
        raise ScoreError(
            f"OUT must end in one of {', '.join(WRITERS)}, got {out.suffix or 'no suffix'}; name it by what is to be "
            "written"
        )


@contextmanager
def written(out: Path, schema: Any, tables: Iterable[pyarrow.Table]) -> Iterator[None]:
    """Write the rows of all tables, in order; OUT itself is there, whole, when the block has ended."""
    beside = out.with_name(f".{out.name}.partial")
    WRITERS[out.suffix.lower()](beside, schema, (fitted(table, schema) for table in tables))
    yield
    os.replace(beside, out)


def _write_delimited(path: Path, schema: Any, tables: Iterable[pyarrow.Table], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(name for name, _ in _flat(schema))
        for table in tables:
            columns = [reader(table) for _, reader in _flat(schema)]
            writer.writerows(zip(*columns, strict=True))


def _flat(schema: Any) -> list[tuple[str, Callable[[pyarrow.Table], list[Any]]]]:
    """Names and readers of columns; a struct, such as the scores, has one for each of its fields."""
    found: list[tuple[str, Callable[[pyarrow.Table], list[Any]]]] = []
    for field in schema:
        if pyarrow.types.is_struct(field.type):
            found += [(f"{field.name}.{part.name}", _inside(field.name, part.name)) for part in field.type]
        else:
            found.append((field.name, _column(field.name)))
    return found


def _column(name: str) -> Callable[[pyarrow.Table], list[Any]]:
    return lambda table: list(map(_cell, table[name].to_pylist()))


def _inside(name: str, part: str) -> Callable[[pyarrow.Table], list[Any]]:
    return lambda table: [row and _cell(row[part]) for row in table[name].to_pylist()]


def _cell(value: Any) -> Any:
    """A value as CSV has it; None becomes an empty cell."""
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return base64.b64encode(value).decode()
        case list() if all(isinstance(each, str) for each in value):
            return LIST_SIGN.join(value)
        case list() | dict():
            return as_json(value)
    return value


def _write_csv(path: Path, schema: Any, tables: Iterable[pyarrow.Table]) -> None:
    _write_delimited(path, schema, tables, ",")


def _write_tsv(path: Path, schema: Any, tables: Iterable[pyarrow.Table]) -> None:
    _write_delimited(path, schema, tables, "\t")


def _write_json_lines(path: Path, schema: Any, tables: Iterable[pyarrow.Table]) -> None:
    as_text = [field.name for field in schema if is_json(field)]
    with path.open("wb") as file:
        for table in tables:
            for row in table.to_pylist():
                row |= {name: orjson.Fragment(row[name]) for name in as_text if row[name] is not None}
                file.write(orjson.dumps(row, default=_said, option=orjson.OPT_APPEND_NEWLINE))


def _said(value: Any) -> str:
    """What JSON has no kind for: bytes as base64, a time or a decimal as its text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _write_parquet(path: Path, schema: Any, tables: Iterable[pyarrow.Table]) -> None:
    # A column without any value has no type that other readers know.
    known = [f.with_type(pyarrow.string()) if pyarrow.types.is_null(f.type) else f for f in schema]
    stored = pyarrow.schema([field.remove_metadata() for field in known])
    with pyarrow.parquet.ParquetWriter(path, stored, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(stored))


WRITERS: dict[str, Callable[[Path, Any, Iterable[pyarrow.Table]], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
    ".parquet": _write_parquet,
}
