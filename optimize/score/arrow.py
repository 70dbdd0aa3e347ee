"""Values of Python as columns of Arrow, and columns of several parts as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow

JSON = {b"sieve": b"json"}
"""Metadata of a column whose texts are JSON: objects, lists, or values of several kinds."""
NESTED = {dict, list, tuple, set}


def table_of(columns: Mapping[str, Sequence[Any]]) -> pyarrow.Table:
    """Columns of texts, numbers and the like; one with anything else becomes one of JSON texts."""
    fields, arrays = [], []
    for name, values in columns.items():
        field, array = _column(name, values)
        fields.append(field)
        arrays.append(array)
    return pyarrow.table(arrays, schema=pyarrow.schema(fields))


def _column(name: str, values: Sequence[Any]) -> tuple[Any, Any]:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pyarrow.field(name, pyarrow.null()), pyarrow.nulls(len(values))
    try:
        if (len(kinds) == 1 and not kinds & NESTED) or kinds == {int, float}:
            array = pyarrow.array(values)
            return pyarrow.field(name, array.type), array
    except UnicodeEncodeError:
        return pyarrow.field(name, pyarrow.string()), pyarrow.array(list(map(storable, values)), pyarrow.string())
    except (OverflowError, pyarrow.ArrowException):
        pass  # a number of more than 64 bits, or a kind that Arrow does not know
    return pyarrow.field(name, pyarrow.string(), metadata=JSON), pyarrow.array(list(map(as_json, values)))


def storable(text: str | None) -> str | None:
    """A text with a replacement character for each part that is no Unicode."""
    return text and text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_json(value: Any) -> str | None:
    """A value as JSON; what JSON has not is its text."""
    if value is None:
        return None
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):  # an integer of more than 64 bits, or a text that is no Unicode
        return storable(str(value))


def common_schema(schemas: Sequence[Any]) -> Any:
    """The columns of all parts, in order of appearance; where their types do not fit together, JSON texts."""
    fields: dict[str, Any] = {}
    for schema in schemas:
        for field in schema:
            there = fields.get(field.name)
            fields[field.name] = field if there is None else _common(there, field)
    return pyarrow.schema(list(fields.values()))


def _common(one: Any, other: Any) -> Any:
    if one.type == other.type and one.metadata == other.metadata:
        return one
    if pyarrow.types.is_null(one.type):
        return other
    if pyarrow.types.is_null(other.type):
        return one
    if {one.type, other.type} == {pyarrow.int64(), pyarrow.float64()}:
        return pyarrow.field(one.name, pyarrow.float64())
    return pyarrow.field(one.name, pyarrow.string(), metadata=JSON)


def fitted(table: pyarrow.Table, schema: Any) -> pyarrow.Table:
    """A part's table with the columns of `schema`, nulls where it has none."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pyarrow.nulls(table.num_rows, field.type))
            continue
        own, column = table.schema.field(field.name), table[field.name]
        if own.type != field.type or (is_json(field) and not is_json(own)):
            if is_json(field):
                column = pyarrow.array(list(map(as_json, column.to_pylist())), pyarrow.string())
            else:
                column = column.cast(field.type)
        columns.append(column)
    return pyarrow.table(columns, schema=schema)


def is_json(field: Any) -> bool:
    """Whether the texts of a column are JSON."""
    return bool(field.metadata and field.metadata.get(b"sieve") == b"json")
