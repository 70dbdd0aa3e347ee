from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from optimize.data import stored
from optimize.data.rows import Table
from optimize.data.stored import arrow_parts, class_names, json_parts, parquet_parts, read_excel, read_json
from optimize.errors import DataError

WANTED = ("text", "label")


def test_json_rows_may_lack_keys() -> None:
    table = read_json('{"text": "a"}\n\n{"label": 1, "text": "b", "x": 2}\n', WANTED, "t.jsonl")
    assert table.names == ["text", "label", "x"]
    assert table.columns == {"text": ["a", "b"], "label": [None, 1]}
    assert table.size == 2


def test_one_line_of_json_is_one_row() -> None:
    assert read_json('{"text": "a", "label": "b"}', WANTED, "t.jsonl").columns == {"text": ["a"], "label": ["b"]}


def test_a_damaged_first_line_is_named_by_its_place_alone() -> None:
    with pytest.raises(DataError, match="line 1 must be JSON, got something else at its character 10") as error:
        read_json('{"text": secret}\n{"text": "b"}\n', WANTED, "t.jsonl")
    assert "secret" not in str(error.value)


def _write_stream(table: pyarrow.Table, path: Path) -> None:
    with pyarrow.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def _write_old_feather(table: pyarrow.Table, path: Path) -> None:
    pyarrow.feather.write_feather(table, path, version=1)


@pytest.mark.filterwarnings("ignore")  # of the old Feather, which people have all the same
@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize(
    ("write", "read"),
    [
        (pyarrow.parquet.write_table, parquet_parts),
        (pyarrow.feather.write_feather, arrow_parts),
        (_write_old_feather, arrow_parts),
        (_write_stream, arrow_parts),
    ],
)
def test_only_wanted_columns_are_read_part_by_part(
    write: Any, read: Any, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "ROWS_AT_ONCE", 2)
    texts = ["a", None, "c", "d", "e"][:rows]
    schema = pyarrow.schema([("text", pyarrow.string()), ("label", pyarrow.int64()), ("number", pyarrow.float64())])
    columns = {"text": texts, "label": list(range(rows)), "number": [0.5] * rows}
    write(pyarrow.table(columns, schema=schema), tmp_path / "rows")
    parts = list(read(tmp_path / "rows", WANTED))
    assert [part.size for part in parts] == ([2, 2, 1] if rows else [0])
    assert all(part.names == ["text", "label", "number"] for part in parts)
    assert [text for part in parts for text in part.columns["text"]] == texts
    assert [label for part in parts for label in part.columns["label"]] == list(range(rows))


def parts_of(text: str, size: int) -> list[Table]:
    pieces = iter([text[start : start + size] for start in range(0, len(text), size)])
    return list(json_parts(pieces, WANTED, "t.jsonl"))


@pytest.mark.parametrize("size", [30, 45, 1000])
@pytest.mark.parametrize("last", ["", "\n"])
def test_json_lines_are_read_part_by_part(size: int, last: str) -> None:
    lines = [{"text": f"é {place}", **({"label": place} if place > 3 else {})} for place in range(8)]
    parts = parts_of("\n\n".join(json.dumps(line) for line in lines) + last, size)
    assert len(parts) == 1 or size < 1000
    assert parts[-1].names == ["text", "label"]
    cells = [part.columns.get(name, [None] * part.size) for name in WANTED for part in parts]
    assert [cell for part in cells for cell in part] == [*(line.get(name) for name in WANTED for line in lines)]


def test_json_that_is_no_lines_is_read_whole() -> None:
    (part,) = parts_of(json.dumps([{"text": "a", "label": 1}] * 9, indent=1), 20)
    assert part.size == 9
    (part,) = parts_of(json.dumps({"text": ["a"] * 9, "label": [1] * 9}, indent=1), 20)
    assert part.size == 9


def test_what_is_wrong_in_a_later_part_is_named_by_its_place_in_the_file() -> None:
    lines = ['{"text": "a", "label": 1}'] * 9
    with pytest.raises(DataError, match="line 10 must be JSON, got something else at its character 10"):
        parts_of("\n".join([*lines, '{"text": secret}', *lines]), 50)
    with pytest.raises(DataError, match="row 9 must be an object with the columns as keys, got list"):
        parts_of("\n".join(["", *lines[:8], "[1]", *lines]), 50)


def test_the_names_of_labels_in_lists_are_taken(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "tags": datasets.Sequence(datasets.ClassLabel(names=["fee", "fraud"]))}
    )
    rows = {"text": ["one", "two"], "tags": [[1, 0], []]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    (table,) = parquet_parts(tmp_path / "rows.parquet", ["text", "tags"])
    assert (table.classes, table.columns["tags"]) == (("fee", "fraud"), [[1, 0], []])


def test_a_label_without_a_name_is_refused() -> None:
    assert class_names([1, -1, None, 0], ["a", "b"]) == ["b", None, None, "a"]
    with pytest.raises(DataError, match="must number one of 2 names from 0, got 2"):
        class_names([1, 2], ["a", "b"])


def test_empty_rows_of_a_sheet_are_counted() -> None:
    file = io.BytesIO()
    pandas.DataFrame({"text": ["a", None, "b"], "label": [1, None, True]}, dtype=object).to_excel(file, index=False)
    table = read_excel(file, WANTED)
    assert table.columns == {"text": ["a", "b"], "label": [1, True]}
    assert table.notes == ["left out: 1 row without any value"]


def test_columns_of_unequal_length_are_no_rows() -> None:
    with pytest.raises(DataError, match="must hold rows"):
        read_json(json.dumps({"text": ["a", "b"], "label": [1]}), WANTED, "t.json")
