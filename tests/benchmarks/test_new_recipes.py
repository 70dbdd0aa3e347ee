from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks import new_recipes
from loadtest.errors import LoadTestError
from tests.conftest import ROOT

RECIPE = "# Written by `python -m optimize new`.\n# A run takes about 12 minutes on the machine that wrote this.\n"


def test_a_row_is_what_the_run_reached() -> None:
    summary = json.loads((ROOT / "docs" / "measured" / "sms-risk.json").read_text())
    row = new_recipes.row_of("sms", RECIPE, summary, 9.87)
    assert (row["expected"], row["minutes"]) == ("about 12 minutes", 9.9)
    assert row["accuracy"]["cascade"] == summary["models"]["cascade"]["accuracy"]
    head, _, line, *_ = new_recipes.table([row]).splitlines()
    assert line.startswith(f"| sms | {row['rows']:,} | 10 (about 12 minutes) |")
    assert head.count("|") == line.count("|")


def test_the_first_rows_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_recipes, "OUTPUT", tmp_path)
    with gzip.open(tmp_path / "rows.tsv.gz", "wt") as file:
        file.write("text\tlabel\n" + "x\ta\n" * 9)
    assert new_recipes.start_of(tmp_path / "rows.tsv.gz", None) == tmp_path / "rows.tsv.gz"
    assert new_recipes.start_of(tmp_path / "rows.tsv.gz", 4).read_text().splitlines() == ["text\tlabel", *["x\ta"] * 4]
    with pytest.raises(LoadTestError, match=r"is not there; name the folder that has other\.tsv"):
        new_recipes.start_of(tmp_path / "other.tsv.gz", 4)


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(LoadTestError, match="`python -m optimize show nothing` ended with status 1"):
        new_recipes.called("show", "nothing")
