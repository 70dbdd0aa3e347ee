"""Measured files as Markdown, with their conditions. tests/docs/test_pages.py holds the pages to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.figure_blocks import figure_block
from benchmarks.pages import FIGURES, MEASURED, TO_MEASURE


# The autoscaler is played in virtual time, on no machine.
@pytest.mark.parametrize("name", sorted(FIGURES.keys() - {"autoscaling"} - TO_MEASURE))
def test_every_kind_of_file_names_the_machine(name: str) -> None:
    path = MEASURED / "figures" / f"{name}.json"
    measured = json.loads(path.read_text(encoding="utf-8"))
    assert figure_block(path).startswith(measured["machine"]["processor"])


def test_a_run_is_shown_as_the_terminal_shows_it() -> None:
    block = figure_block(MEASURED / "figures" / "run.json")
    assert block.rstrip().endswith(("PASSED\n```", "FAILED\n```", "INVALID\n```"))
    assert "\x1b" not in block, "no colours"


def test_tune_says_whether_the_defaults_stay(tmp_path: Path) -> None:
    result = json.loads((MEASURED / "figures" / "tune-cascade.json").read_text(encoding="utf-8"))
    for settings, said in ((result["defaults"], "the defaults stay."), ({"workers": 3}, "trials: `workers` 3.")):
        (tmp_path / "tune-cascade.json").write_text(json.dumps({**result, "settings": settings}), encoding="utf-8")
        assert figure_block(tmp_path / "tune-cascade.json").endswith(f"{said}\n")
