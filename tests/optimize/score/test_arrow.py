from __future__ import annotations

import datetime

import pyarrow

from optimize.score.arrow import as_json, common_schema, fitted, is_json, storable, table_of


def test_columns_keep_their_kind() -> None:
    day = datetime.date(2026, 11, 26)
    columns = {"a": ["x", None], "b": [1, 2], "c": [1, 2.5], "d": [True, None], "e": [None, None], "f": [day, day]}
    table = table_of(columns)
    assert {name: table[name].to_pylist() for name in columns} == columns
    assert not any(map(is_json, table.schema))


def test_what_has_no_kind_of_its_own_is_json() -> None:
    table = table_of({"a": [1, "x"], "b": [{"k": [1]}, None], "c": [[1], [2]], "d": [2**70, 1]})
    assert table.to_pylist() == [
        {"a": "1", "b": '{"k":[1]}', "c": "[1]", "d": str(2**70)},
        {"a": '"x"', "b": None, "c": "[2]", "d": "1"},
    ]
    assert all(map(is_json, table.schema))


def test_a_text_that_is_no_unicode_is_stored_with_a_sign_for_what_is_broken() -> None:
    assert table_of({"a": ["x\ud800y", "z"]})["a"].to_pylist() == ["x�y", "z"]
    assert storable("𝄞 whole") == "𝄞 whole"
    assert as_json({"k": "\ud800"}) == r"{'k': '\ud800'}"


def test_parts_with_other_columns_fit_together() -> None:
    parts = [
        table_of({"id": [1], "n": [1], "a": [None], "x": ["text"]}),
        table_of({"id": [2], "n": [2.5], "a": ["y"], "x": [3], "late": [True]}),
    ]
    schema = common_schema([part.schema for part in parts])
    rows = [row for part in parts for row in fitted(part, schema).to_pylist()]
    assert rows == [
        {"id": 1, "n": 1.0, "a": None, "x": '"text"', "late": None},
        {"id": 2, "n": 2.5, "a": "y", "x": "3", "late": True},
    ]
    assert [field.name for field in schema if is_json(field)] == ["x"]


def test_a_part_that_fits_is_taken_as_it_is() -> None:
    table = pyarrow.table({"when": pyarrow.array([datetime.datetime(2026, 1, 1)]), "n": [1]})
    assert fitted(table, common_schema([table.schema, table.schema])).equals(table)
