from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from optimize.errors import ScoreError
from optimize.score.arrow import common_schema, table_of
from optimize.score.out import require_suffix, written

ROWS: dict[str, list[Any]] = {
    "text": ['with, "quotes"', "two\nlines", None],
    "n": [1, 2, None],
    "raw": [b"\x00\xff", None, b""],
    "mixed": [{"k": 1}, "x", None],
    "day": [datetime.date(2026, 1, 2)] * 3,
    "empty": [None, None, None],
}
SETS = pyarrow.array([["a", "b"], [], None])
SCORES = pyarrow.array([{"a": 0.5, "b": 0.25}, {"a": 1.0, "b": 0.0}, None])


def write(out: Path) -> None:
    table = table_of(ROWS).append_column("labels", SETS).append_column("scores", SCORES)
    with written(out, common_schema([table.schema]), [table.slice(0, 2), table.slice(2)]):
        assert not out.exists()


def test_csv(tmp_path: Path) -> None:
    write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == (
        "text,n,raw,mixed,day,empty,labels,scores.a,scores.b\n"
        '"with, ""quotes""",1,AP8=,"{""k"":1}",2026-01-02,,a|b,0.5,0.25\n'
        '"two\nlines",2,,"""x""",2026-01-02,,,1.0,0.0\n'
        ",,,,2026-01-02,,,,\n"
    )


def test_tsv_has_tabs(tmp_path: Path) -> None:
    write(tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_text().startswith("text\tn\traw\t")


def test_json_lines(tmp_path: Path) -> None:
    write(tmp_path / "out.ndjson")
    assert (tmp_path / "out.ndjson").read_text().splitlines()[0] == (
        '{"text":"with, \\"quotes\\"","n":1,"raw":"AP8=","mixed":{"k":1},"day":"2026-01-02","empty":null,'
        '"labels":["a","b"],"scores":{"a":0.5,"b":0.25}}'
    )


def test_parquet_keeps_types(tmp_path: Path) -> None:
    write(tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table["day"].to_pylist() == ROWS["day"]
    assert table["mixed"].to_pylist() == ['{"k":1}', '"x"', None]
    assert table.schema.field("empty").type == pyarrow.string()
    assert table["scores"].to_pylist() == SCORES.to_pylist()


def test_an_out_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    table = table_of(ROWS)
    with pytest.raises(OSError, match="full"), written(tmp_path / "out.csv", table.schema, [table]):
        raise OSError("the disk is full")
    assert not (tmp_path / "out.csv").exists()


def test_another_suffix_is_refused() -> None:
    with pytest.raises(ScoreError, match=r"must end in one of .csv, .tsv, .jsonl, .ndjson, .parquet, got .xlsx"):
        require_suffix(Path("out.xlsx"))
    with pytest.raises(ScoreError, match="got no suffix"):
        require_suffix(Path("out"))
