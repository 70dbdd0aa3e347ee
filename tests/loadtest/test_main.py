"""The command line: its verbs, and what it refuses before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_INTERRUPTED, EXIT_WRONG, main
from loadtest.errors import LoadTestError
from loadtest.traffic.plan import Plan
from loadtest.verdict.objective import Objective

VERBS = ("run", "overload", "tune", "compare", "mlperf", "capacity", "check")


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    for verb in VERBS:
        assert f"    {verb} " in said
        with pytest.raises(SystemExit, match="0"):
            main([verb, "--help"])
        assert f"usage: python -m loadtest {verb} " in capsys.readouterr().out


def test_without_a_verb_it_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "VERB" in capsys.readouterr().err


def test_a_preset_stands_without_another_objective(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset = ["tune", "x {port} {settings}", "--preset", "bert", "--out", str(tmp_path)]
    for more in (["--goodput", "5"], ["--goodput-degraded", "5"], ["--slo", "p99=5ms"]):
        assert main([*preset, *more]) == EXIT_WRONG
        assert "error: --preset: must stand without --slo and --goodput" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["run", "http://127.0.0.1:1", "--out", str(tmp_path / "file")]) == EXIT_WRONG
    assert "must be a folder that can be written, got File exists; name another" in capsys.readouterr().err


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("loadtest.check.check_generator", interrupted)
    assert main(["check"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("arguments", "strict"), [([], True), (["--point-estimate"], False)])
def test_run_judges_by_the_interval_unless_it_is_told_otherwise(
    arguments: list[str], strict: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Objective] = []

    def stop(_: Plan, objective: Objective) -> None:
        given.append(objective)
        raise LoadTestError("enough")

    monkeypatch.setattr("loadtest.run.run", stop)
    assert main(["run", "http://127.0.0.1:1", "--out", str(tmp_path), *arguments]) == EXIT_WRONG
    assert [objective.strict for objective in given] == [strict]
