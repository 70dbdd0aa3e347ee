"""`python -m loadtest compare`: contenders in turn, real processes whose capacity is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_PASSED, EXIT_WRONG, main
from tests.loadtest.conftest import COMMAND

pytestmark = pytest.mark.usefixtures("computed_runs")


def test_compare_tells_a_service_with_more_capacity_from_one_with_less(tmp_path: Path) -> None:
    path = tmp_path / "contenders.toml"
    rows = []
    for workers in (1, 4):
        settings = tmp_path / f"{workers}.toml"
        settings.write_text(f"workers = {workers}\n")
        rows.append(f"[[contender]]\nname = 'workers {workers}'\ncommand = '{COMMAND} {settings}'\n")
    path.write_text("".join(rows))
    arguments = ["compare", str(path), "--rounds", "1", "--slo", "p99=100ms", "--out", str(tmp_path / "out")]
    assert main(arguments) == EXIT_PASSED
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    one, four = result["rows"]
    assert 0 < one["goodput_per_s"]["median"] < 54, "one at a time, 20 ms each"
    assert four["times_the_first"]["median"] > 1
    assert all("asked" in reason or "late" in reason for reason in one["broken_by"][0])
    assert one["broken_by"][0], "64 a second are too much for it"
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "workers 4" in page
    assert "<svg" in page


def test_a_service_that_never_starts_is_the_askers_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "contenders.toml"
    path.write_text(f"[[contender]]\nname = 'none'\ncommand = '{sys.executable} -c pass'\n")
    assert main(["compare", str(path), "--out", str(tmp_path / "out")]) == EXIT_WRONG
    assert "the server ended with status 0" in capsys.readouterr().err
    assert (
        main(["tune", "x {port} {settings}", "--preset", "bert", "--goodput", "5", "--out", str(tmp_path)])
        == EXIT_WRONG
    )
    assert "--preset" in capsys.readouterr().err
