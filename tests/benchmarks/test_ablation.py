"""Every ablation still finds the lines that it changes, and what it leaves is Python."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.ablation import CHANGES, changed, table
from tests.conftest import ROOT


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_made_in_a_copy_of_the_service(what: str, tmp_path: Path) -> None:
    code = changed(tmp_path / "code", CHANGES[what])
    for file, line, other in CHANGES[what]:
        text = (code / file).read_text()
        assert other in text
        assert line not in text
        ast.parse(text)
        assert line in (ROOT / file).read_text(), "the service itself is as it was"
    assert (code / "bentofile.yaml").is_file()


def test_a_line_that_is_not_there_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"service\.py has no 'no such line' to change"):
        changed(tmp_path / "code", [("service.py", "no such line", "pass")])


def test_the_table_has_both_figures_of_each_key() -> None:
    pair = {"with": 2.0, "without": 1.25}
    said = table({"batching": {"empty_1_p50_ms": pair, "empty_32_per_s": pair, "expert_32_per_s": pair}})
    assert said.splitlines()[-1] == "| batching | 1.25 (with: 2.00) | 1 (with: 2) | 1 (with: 2) |"
