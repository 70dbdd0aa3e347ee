"""Tables with a column of 0 and 1 for each label."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from pydantic import ValidationError

from optimize.data.label_columns import flag_of, labels_in
from optimize.data.readers import FilesData, HubData, Rows, read_rows
from optimize.errors import DataError

TABLE = pandas.DataFrame({"text": ["one", "two", "three", "four"], "fee": [1, 0, 1, 0], "fraud": [0, 0, 1, 1]})
SETS = [("fee",), (), ("fee", "fraud"), ("fraud",)]


def read(root: Path, train: str = "t.csv", **keys: Any) -> Rows:
    described = {"label_columns": ("fee", "fraud"), "problem": "multi-label", **keys}
    return read_rows(FilesData(source="files", train=train, **described), root=root, seed=0)[0]


@pytest.mark.parametrize(
    "cell", [1, True, 1.0, "1", " 1.0 ", "TRUE", "true", np.int64(1), np.True_, Decimal(1)], ids=repr
)
def test_what_says_that_a_row_has_the_label(cell: Any) -> None:
    assert flag_of(cell) is True


@pytest.mark.parametrize("cell", [0, False, 0.0, "0", "0.0", "False", np.int64(0), np.False_, Decimal(0)], ids=repr)
def test_what_says_that_it_has_not(cell: Any) -> None:
    assert flag_of(cell) is False


@pytest.mark.parametrize("cell", [None, "", "yes", 2, -1, 0.5, float("nan"), [1], b"1"], ids=repr)
def test_what_says_neither(cell: Any) -> None:
    assert flag_of(cell) is None


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.xlsx", "t.feather"])
@pytest.mark.parametrize("kind", ["int64", "bool", "float64"])
def test_every_kind_of_table(tmp_path: Path, name: str, kind: str) -> None:
    table, path = TABLE.astype({"fee": kind, "fraud": kind}), tmp_path / name
    match path.suffix:
        case ".csv":
            table.to_csv(path, index=False)
        case ".tsv":
            table.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            table.to_json(path, orient="records", lines=True)
        case ".parquet":
            table.to_parquet(path)
        case ".xlsx":
            table.to_excel(path, index=False)
        case _:
            table.to_feather(path)
    rows = read(tmp_path, name)
    assert rows.inputs == TABLE["text"].tolist()
    assert rows.labels == SETS
    assert rows.classes == ("fee", "fraud")


def test_the_order_of_the_columns_in_the_recipe_is_that_of_the_labels(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    rows = read(tmp_path, label_columns=("fraud", "fee"))
    assert rows.classes == ("fraud", "fee")
    assert rows.labels == [("fee",), (), ("fraud", "fee"), ("fraud",)]


def test_a_column_for_each_label_where_a_row_has_one(tmp_path: Path) -> None:
    TABLE[TABLE["fee"] + TABLE["fraud"] == 1].to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path, problem="single-label").labels == ["fee", "fraud"]
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    says = (
        r'2 of 4 rows cannot be used: 2 with no label or several, which takes problem = "multi-label" \(row 2 of t.csv,'
        r" row 3 of t.csv\)"
    )
    with pytest.raises(DataError, match=says):
        read(tmp_path, problem="single-label")


def test_rows_that_state_no_labels_are_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,fee,fraud\na,1,0\nb,-1,-1\nc,,1\nd,0,maybe\ne,0,1\n")
    says = (
        "3 of 5 rows cannot be used: 1 with neither 0 nor 1 in 'fee' (row 2 of t.csv), 1 with no 'fee' (row 3 of t.csv)"
        ", 1 with neither 0 nor 1 in 'fraud' (row 4 of t.csv)"
    )
    with pytest.raises(DataError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"data t.csv: {says}; mend them")
    assert read(tmp_path, bad_rows="leave-out").labels == [("fee",), ("fraud",)]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"no column 'frauds'; it has text, fee, fraud: put \"fraud\" in label_columns"):
        read(tmp_path, label_columns=("fee", "frauds"))
    with pytest.raises(DataError, match="no column 'refund'; it has text, fee, fraud: name the columns of labels in"):
        read(tmp_path, label_columns=("fee", "fraud", "refund"))


def test_a_data_set_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    datasets.Dataset.from_pandas(TABLE).to_parquet(tmp_path / "things" / "train-00000-of-00001.parquet")
    described = {"source": "hub", "id": "things", "holdout": "", "label_columns": ("fee", "fraud")}
    rows = read_rows(HubData(**described, problem="multi-label"), root=tmp_path, seed=0)[0]
    assert rows.labels == SETS
    assert rows.classes == ("fee", "fraud")
    with pytest.raises(DataError, match=r"2 of 4 rows cannot be used: 2 with no label or several"):
        read_rows(HubData(**described), root=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"label_column": "fee"}, "label_column is for labels in one column; leave one of the two out"),
        ({"problem": "multi-label", "label_separator": ";"}, "label_separator is for labels in one column"),
        ({"label_columns": ["fee", "fee"]}, "a column stands twice"),
        ({"label_columns": ["fee"]}, "at least 2"),
        ({"labels": "teacher"}, "label_columns: a rule for labels of the data"),
    ],
    ids=["one column", "separator", "twice", "one", "teacher"],
)
def test_settings_that_say_other_things_are_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FilesData(**{"source": "files", "train": "t.csv", "label_columns": ["fee", "fraud"], **keys})


def test_names_are_those_of_the_columns_without_spaces_around() -> None:
    assert labels_in({" fee": [1], "fraud ": [1]}, several=True) == ([("fee", "fraud")], {})
