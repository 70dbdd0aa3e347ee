"""Tables that are no delimited text: JSON, JSON lines, Parquet, Arrow, Excel."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from optimize.data.rows import Table
from optimize.data.said import counted
from optimize.errors import DataError


def read_json(text: str, wanted: Sequence[str], source: str) -> Table:
    """JSON lines; an array of objects; or an object of columns, or with one array of objects in it."""
    rows = _json_rows(text, source)
    for place, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"data {source}: row {place} must be an object with the columns as keys, got {type(row).__name__}; "
                'write each row as {"text": …, "label": …}'
            )
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in wanted if name in names}
    return Table(names, columns, len(rows))


def _json_rows(text: str, source: str) -> list[Any]:
    first = text.lstrip()[:1]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    try:
        if first == "[" or len(lines) == 1:
            return _rows_of(json.loads(text), source)
        rows = []
        for number, line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                # One object over several lines begins like a damaged first line.
                if not rows:
                    return _rows_of(json.loads(text), source)
                raise _no_json(source, number, error) from None
        return rows
    except json.JSONDecodeError as error:
        raise _no_json(source, error.lineno, error) from None


def _no_json(source: str, line: int, error: json.JSONDecodeError) -> DataError:
    return DataError(
        f"data {source}: line {line:,} must be JSON, got something else at its character {error.colno:,} "
        f"({error.msg}); mend the line"
    )


def _rows_of(value: Any, source: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        inside = list(value.values())
        lists = [each for each in inside if isinstance(each, list) and all(isinstance(row, dict) for row in each)]
        if len(lists) == 1 and lists[0]:
            return lists[0]
        # pandas writes a column as an object: the number of each row and its value.
        columns = [list(each.values()) if isinstance(each, dict) else each for each in inside]
        if columns and all(isinstance(each, list) and len(each) == len(columns[0]) for each in columns):
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
        if not all(isinstance(each, list | dict) for each in inside):
            return [value]
    raise DataError(
        f"data {source} must hold rows: an array of objects, or one object a line; got one {type(value).__name__}"
    )


def read_parquet(file: Any, wanted: Sequence[str]) -> Table:
    """A Parquet file, by its path or as an open file. Raises what pyarrow raises."""
    import pyarrow.parquet

    opened = pyarrow.parquet.ParquetFile(file)
    names = opened.schema_arrow.names
    return _of_arrow(opened.read(columns=[name for name in wanted if name in names]), names, wanted)


def read_arrow(file: Any, wanted: Sequence[str]) -> Table:
    """An Arrow file or stream, or a Feather file. Raises what pyarrow raises."""
    import pyarrow
    import pyarrow.feather

    source = pyarrow.memory_map(str(file)) if not isinstance(file, io.BytesIO) else file
    try:
        stored = pyarrow.feather.read_table(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        stored = pyarrow.ipc.open_stream(source).read_all()
    return _of_arrow(stored, stored.column_names, wanted)


def _of_arrow(stored: Any, names: Sequence[str], wanted: Sequence[str]) -> Table:
    columns = {name: stored[name].to_pylist() for name in wanted if name in stored.column_names}
    table = Table(list(names), columns, stored.num_rows)
    features = json.loads((stored.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    for name in columns:
        feature = features.get(name)
        if not isinstance(feature, dict):
            continue
        # The hub's own files hold a label's number, and its name beside the columns; the names of a list's labels too.
        if classes := feature.get("names"):
            table.classes = tuple(classes)
            columns[name] = class_names(columns[name], classes)
        elif isinstance(inner := feature.get("feature"), dict) and inner.get("names"):
            table.classes = tuple(inner["names"])
    return table


def class_names(numbers: Sequence[int | None], names: Sequence[str]) -> list[str | None]:
    """The names of the labels; a number below zero means that a row has none."""
    known = dict(enumerate(names))
    if strange := [number for number in numbers if number is not None and number >= len(names)]:
        raise DataError(f"data: a label must number one of {len(names)} names from 0, got {strange[0]}; mend it")
    return [None if number is None else known.get(number) for number in numbers]


def read_excel(file: Any, wanted: Sequence[str]) -> Table:
    """The first sheet that has the wanted columns, or else the first one. Raises what openpyxl raises."""
    import pandas

    sheets = pandas.read_excel(file, sheet_name=None, dtype=object, keep_default_na=False, na_filter=False)
    chosen = max(sheets, key=lambda name: sum(column in sheets[name].columns for column in wanted))
    sheet = sheets[chosen]
    filled = sheet[(sheet != "").any(axis=1)]
    names = [str(name) for name in sheet.columns]
    table = Table(names, {name: filled[name].tolist() for name in wanted if name in names}, len(filled))
    if len(sheets) > 1:
        table.notes.append(f"the sheet {chosen!r} of {len(sheets)} is read")
    if blank := len(sheet) - len(filled):
        table.notes.append(f"left out: {counted(blank, 'row')} without any value")
    return table
