from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from optimize.data.stored import class_names, read_arrow, read_excel, read_json, read_parquet
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


def test_only_wanted_columns_are_read() -> None:
    stored = pyarrow.table({"text": ["a", None], "label": [1, 2], "vector": [[0.5], [1.5]]})
    for write, read in ((pyarrow.parquet.write_table, read_parquet), (pyarrow.feather.write_feather, read_arrow)):
        file = io.BytesIO()
        write(stored, file)
        file.seek(0)
        table = read(file, WANTED)
        assert table.names == ["text", "label", "vector"]
        assert table.columns == {"text": ["a", None], "label": [1, 2]}


def test_the_names_of_labels_in_lists_are_taken(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "tags": datasets.Sequence(datasets.ClassLabel(names=["fee", "fraud"]))}
    )
    rows = {"text": ["one", "two"], "tags": [[1, 0], []]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    table = read_parquet(tmp_path / "rows.parquet", ["text", "tags"])
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
