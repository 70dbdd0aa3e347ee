"""`python -m loadtest compare --peers`: real servers in turn, and one that cannot start."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_PASSED, EXIT_WRONG, main
from tests.loadtest.conftest import COMMAND

FIGURES = {"per_s": 50.0, "p50_ms": 20.0, "p99_ms": 21.0}


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk here")
@pytest.mark.usefixtures("computed_runs")
def test_each_is_measured_in_each_round_and_one_that_cannot_start_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "peers.toml"
    script = f"import json; print(json.dumps({{size: {FIGURES} for size in ('1', '8', '32')}}))"
    rows = [f'[alone]\ncommand = """{sys.executable} -c "{script}" """\n']
    for workers in (1, 4):
        (tmp_path / f"{workers}.toml").write_text(f"workers = {workers}\n")
        command = f"{COMMAND} {tmp_path / f'{workers}.toml'}"
        rows.append(f"[[peer]]\nname = 'workers {workers}'\ncommand = '{command}'\nbody = '{{\"text\": \"a\"}}'\n")
    rows.append(f"[[peer]]\nname = 'none'\ncommand = '{sys.executable} -c pass'\nbody = '{{}}'\n")
    path.write_text("".join(rows))
    arguments = ["compare", "--peers", str(path), "--rounds", "2", "--seconds", "1", "--slo", "p99=100ms"]
    assert main(arguments) == EXIT_PASSED
    result = json.loads((tmp_path / "peers.json").read_text())
    alone, one, four, none = result["rows"]
    assert [each["place"] for each in alone["rounds"]] == [1, 4], "each round begins one later"
    assert [each["place"] for each in one["rounds"]] == [2, 1]
    assert four["connections"]["8"]["times_the_first"]["median"] > 1
    assert four["highest"]["times_the_first"]["median"] > 1
    assert alone["highest"] is None
    assert none["rounds"] == []
    assert none["why"].startswith("round 1: the server ended with status 0")
    said = capsys.readouterr().out
    assert "| workers 4 |" in said
    assert said.count("of 2: none") == 1, "it is not tried again"


@pytest.mark.parametrize("arguments", [[], ["a.toml", "--peers"]])
def test_compare_takes_a_file_or_the_peers(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == EXIT_WRONG
    assert "give one of them" in capsys.readouterr().err
