from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas
import pytest

from optimize.data.readers import FilesData, read_rows
from optimize.errors import DataError

TABLE = pandas.DataFrame(
    {"text": ['say "hi", now', "tab\there", "Grüße 💳", "NA"], "label": ["0", "1", "0", "1"], "other": [1, 2, 3, 4]}
)


def read(config: Any, root: Path = Path()) -> Any:
    return read_rows(config, root=root, seed=0)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet"])
def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        TABLE.to_parquet(tmp_path / name)
    else:
        TABLE.to_csv(tmp_path / name, sep="\t" if ".tsv" in name else ",", index=False)
    got, holdout = read(FilesData(source="files", train=name), tmp_path)
    assert got.inputs == TABLE["text"].tolist()
    assert got.labels == ["0", "1", "0", "1"]
    assert got.ids == [f"{name}:{i}" for i in range(4)]
    assert holdout is None


def test_other_columns_can_be_named(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    got, _ = read(FilesData(source="files", train="t.csv", text_column="label", label_column="text"), tmp_path)
    assert got.inputs == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (None, "t.csv", "there is no such file or folder; give .* --root"),
        (b"text,kind\na,b\n", "t.csv", "no column 'label'; it has text, kind: set text_column"),
        (b"text,label\n,b\n", "t.csv", "row 1 has an empty 'text'; fill it in or take the row out"),
        (b"text,label\na,b\nc,  \n", "t.csv", "row 2 has an empty 'label'"),
        (b"text,label\n\xff\xfe,b\n", "t.csv", "cannot be read .* must be CSV, TSV"),
        (gzip.compress(b"text,label\na,b\n", mtime=0)[:-9], "t.csv.gz", "cannot be read"),
        (b"not parquet", "t.parquet", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_says_so(tmp_path: Path, content: bytes | None, name: str, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read(FilesData(source="files", train=name), tmp_path)
    assert str(tmp_path / name) in str(error.value)
