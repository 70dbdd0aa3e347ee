from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.unlabelled import main
from tests.optimize.knowing import KNOWING_CASCADE, knowing_bert, write_rows

RECIPE = f"""
name = "knowing"
data = {{ source = "files", train = "rows.csv", holdout = "held.csv", calibration_size = 8 }}
{KNOWING_CASCADE}"""


def test_both_screens_are_held_against_the_teacher_that_both_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = knowing_bert(tmp_path / "bert", rows=200)
    write_rows(tmp_path / "rows.csv", rows[:140])
    write_rows(tmp_path / "held.csv", rows[140:])
    (tmp_path / "knowing.toml").write_text(RECIPE)
    options = ["--root", str(tmp_path), "--build", str(tmp_path / "build"), "--points", "100"]
    monkeypatch.setattr(sys, "argv", ["unlabelled", str(tmp_path / "knowing.toml"), *options])
    assert main() == 0
    found = json.loads((tmp_path / "build" / "unlabelled.json").read_text())
    assert found["items"] == 60
    assert found["accuracy"]["teacher"] == 1.0, "it labelled the rows"
    # The labels are its answers, so both runs learn the same.
    assert found["agreement_with_teacher"]["labelled"] == found["agreement_with_teacher"]["unlabelled"]
    assert found["points_lost"] == 0
    assert "| without labels |" in capsys.readouterr().out
    labels = json.loads((tmp_path / "build" / "unlabelled" / "data.json").read_text())["labels_from"]
    assert labels == "teacher"


def test_a_recipe_without_a_holdout_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["unlabelled", "demo-text"])
    with pytest.raises(SystemExit, match="the recipe must name a holdout"):
        main()
