"""Tables that are no delimited text: JSON, JSON lines, Parquet, Arrow, Excel."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from optimize.data.rows import Table
from optimize.data.said import counted
from optimize.errors import DataError

ROWS_AT_ONCE = 1_024
BUFFER_BYTES = 1 << 20


def read_json(text: str, wanted: Sequence[str], source: str) -> Table:
    """JSON lines; an array of objects; or an object of columns, or with one array of objects in it."""
    rows = _json_rows(text, source)
    _require_objects(rows, source)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in wanted if name in names}
    return Table(names, columns, len(rows))


def json_parts(texts: Iterator[str], wanted: Sequence[str], source: str) -> Iterator[Table]:
    """The rows of a file that comes in `texts`: of JSON lines a table for each text, of anything else one table."""
    text, more = next(texts, ""), next(texts, None)
    if more is None or not _is_line(text):
        yield read_json(text + (more or "") + "".join(texts), wanted, source)
        return
    names: dict[str, None] = {}
    done = place = 0
    for piece in whole_lines(chain([text, more], texts)):
        lines = piece.split("\n")
        rows = _json_lines(
            ((number, line) for number, line in enumerate(lines, start=done + 1) if line.strip()), source
        )
        _require_objects(rows, source, place)
        names |= dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in wanted if name in names}
        yield Table(list(names), columns, len(rows), more_names=True)
        done, place = done + len(lines), place + len(rows)


def _is_line(text: str) -> bool:
    """Whether the first line is an object of its own."""
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except ValueError:
        return False


def whole_lines(texts: Iterator[str]) -> Iterator[str]:
    """The texts, cut at the ends of lines."""
    rest = ""
    for text in texts:
        lines, end, rest = (rest + text).rpartition("\n")
        if end:
            yield lines
    if rest:
        yield rest


def _require_objects(rows: Sequence[Any], source: str, before: int = 0) -> None:
    for place, row in enumerate(rows, start=before + 1):
        if not isinstance(row, dict):
            raise DataError(
                f"data {source}: row {place} must be an object with the columns as keys, got {type(row).__name__}; "
                'write each row as {"text": …, "label": …}'
            )


def _json_lines(lines: Iterable[tuple[int, str]], source: str) -> list[Any]:
    rows = []
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise _no_json(source, number, error) from None
    return rows


def _json_rows(text: str, source: str) -> list[Any]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    try:
        # One object over several lines begins like a damaged first line.
        if text.lstrip().startswith("[") or len(lines) == 1 or not _parses(lines[0][1]):
            return _rows_of(json.loads(text), source)
    except json.JSONDecodeError as error:
        raise _no_json(source, error.lineno, error) from None
    return _json_lines(lines, source)


def _parses(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True


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


def parquet_parts(file: Any, wanted: Sequence[str]) -> Iterator[Table]:
    """The rows of a Parquet file, by its path or as an open file. Raises what pyarrow raises."""
    import pyarrow.parquet

    # Without a buffer pyarrow reads all of a row group's column at once.
    with pyarrow.parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False) as opened:
        schema = opened.schema_arrow
        columns = [name for name in wanted if name in schema.names]
        yield from _of_batches(
            opened.iter_batches(ROWS_AT_ONCE, columns=columns), schema, wanted, opened.metadata.num_rows
        )


def arrow_parts(path: Path, wanted: Sequence[str]) -> Iterator[Table]:
    """The rows of an Arrow file or stream, or of a Feather file. Raises what pyarrow raises."""
    import pyarrow
    import pyarrow.feather

    with pyarrow.memory_map(str(path)) as source:
        start = source.read(4)
        source.seek(0)
        if start == b"FEA1":
            table = pyarrow.feather.read_table(source)
            yield from _of_batches(table.to_batches(), table.schema, wanted, table.num_rows)
        elif start == b"ARRO":
            file = pyarrow.ipc.open_file(source)
            batches = (file.get_batch(place) for place in range(file.num_record_batches))
            yield from _of_batches(batches, file.schema, wanted)
        else:
            stream = pyarrow.ipc.open_stream(source)
            yield from _of_batches(stream, stream.schema, wanted)


def _of_batches(batches: Iterable[Any], schema: Any, wanted: Sequence[str], rows: int = 0) -> Iterator[Table]:
    """A table for each ROWS_AT_ONCE rows of batches; one without rows if there are none."""
    size = 0
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield _of_arrow(batch.slice(start, ROWS_AT_ONCE), schema, wanted, rows)
        size += batch.num_rows
    if not size:
        yield _of_arrow(schema.empty_table(), schema, wanted, rows)


def _of_arrow(stored: Any, schema: Any, wanted: Sequence[str], rows: int) -> Table:
    columns = {name: stored[name].to_pylist() for name in wanted if name in stored.schema.names}
    table = Table(list(schema.names), columns, stored.num_rows, of_rows=rows)
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
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
