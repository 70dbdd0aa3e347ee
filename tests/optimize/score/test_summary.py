from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest

from optimize.score.summary import MOST_ERRORS, Tally, path_beside, say_summary, write_summary

EMPTY = "text: must be there, got an empty cell"


def tallied() -> Tally:
    tally = Tally("p_")
    tables = [
        {"p_escalated": [True, False, None], "p_error": [None, None, EMPTY]},
        {"p_escalated": pyarrow.nulls(1, pyarrow.bool_()), "p_error": [EMPTY]},
        {"p_escalated": [False, False], "p_error": pyarrow.nulls(2, pyarrow.string())},
    ]
    for columns in tables:
        table = pyarrow.table(columns)
        assert tally.counting(table) is table
    return tally


def test_rows_are_counted_by_who_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = tallied()
    out = tmp_path / "out.csv"
    summary = write_summary(out, tally, {"rows_this_run": 6, "seconds": 2.0, "rows_per_s": 3.0}, ["other graphs run"])
    assert summary == {
        "rows": 6,
        "escalated": 1,
        "escalated_share": 0.25,
        "invalid": 2,
        "errors": {EMPTY: 2},
        "rows_this_run": 6,
        "seconds": 2.0,
        "rows_per_s": 3.0,
        "promise": {"applies": False, "why_not": ["other graphs run"]},
    }
    assert json.loads(path_beside(out).read_text()) == summary
    say_summary(out, tally, summary)
    said = capsys.readouterr().out
    assert "6 rows, 25.0% escalated\n2 rows without an answer:\n" in said
    assert f"  2: {EMPTY}\nthe promise does not apply: other graphs run\n" in said
    assert said.endswith("out.csv: 6 rows in 2.0 s, 3 rows/s\n")


def test_no_more_errors_are_named_than_somebody_reads() -> None:
    tally = Tally()
    tally.counting(
        pyarrow.table({"escalated": pyarrow.nulls(99, pyarrow.bool_()), "error": [f"error {n}" for n in range(99)]})
    )
    assert len(tally.described()["errors"]) == MOST_ERRORS
    assert tally.invalid == 99
    assert tally.escalated_share == 0
