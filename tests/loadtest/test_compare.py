"""Contenders in turn, and settings that are searched for: against real processes whose capacity is known."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from loadtest import tune as tuning
from loadtest.__main__ import EXIT_PASSED, EXIT_WRONG, main
from loadtest.compare import ratio, spread, summary
from loadtest.run import Plan
from loadtest.traffic.workload import Mix
from loadtest.verdict import contender
from loadtest.verdict.contender import ContenderError, read_contenders
from loadtest.verdict.objective import Objective

SERVICE = Path(__file__).with_name("little_service.py")
COMMAND = f"{sys.executable} {SERVICE} {{port}}"


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contender, "MIN_REQUESTS", 100)
    monkeypatch.setattr(contender, "MIN_S", 0.5)
    monkeypatch.setattr(contender, "MAX_S", 1.5)
    monkeypatch.setattr(contender, "MAX_RUNS", 4)
    monkeypatch.setattr(tuning, "RUNS_A_TRIAL", 3)


def test_ratios_are_medians_of_the_rounds_with_an_interval_around_them() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    found = ratio([20.0, 30.0, 44.0], [10.0, 10.0, 11.0])
    assert found is not None
    assert found["median"] == 3.0
    assert 2.0 <= found["low"] <= 3.0 <= found["high"] <= 4.0
    assert ratio([1.0], [0.0]) is None


def test_a_file_of_contenders_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "contenders.toml"
    for text in ("", "[[contender]]\nname = 'x'\n", "contender = 5", "not toml"):
        path.write_text(text)
        with pytest.raises(ContenderError, match=r"\[\[contender\]\] tables"):
            read_contenders(path)
    path.write_text("[[contender]]\nname = 'x'\ncommand = 'serve --port {port}'\nvariables = {A = '1'}\n")
    (one,) = read_contenders(path)
    assert one.line == ("serve", "--port", "{port}")
    assert one.variables == {"A": "1"}
    assert one.folder == tmp_path
    assert main(["compare", str(tmp_path / "none.toml")]) == EXIT_WRONG


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


def test_tune_finds_the_better_settings_writes_them_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "SPACE", {"workers": [1, 6]})
    monkeypatch.setattr(tuning, "DEFAULTS", {"workers": 1})
    arguments = ["tune", f"{COMMAND} {{settings}}", "--rounds", "1", "--slo", "p99=100ms", "--out", str(tmp_path)]
    assert main([*arguments, "--minutes", "0.01"]) == EXIT_PASSED
    assert tomllib.loads((tmp_path / "settings.toml").read_text()) == {"workers": 6}
    result = json.loads((tmp_path / "tune.json").read_text())
    assert [row["name"] for row in result["comparison"]["rows"]] == ["defaults", "tuned"]
    assert result["comparison"]["rows"][1]["times_the_one_before"]["median"] > 1
    assert {trial["kind"] for trial in result["trials"]} == {"default", "chosen"}
    assert "<svg" in (tmp_path / "tune.html").read_text()

    capsys.readouterr()
    assert main([*arguments, "--minutes", "0.001"]) == EXIT_PASSED
    assert "trial" not in capsys.readouterr().out, "all of its trials are in the journal"


@pytest.mark.parametrize(
    ("defaults", "tuned", "wins"),
    [
        ([200.0, 210.0, 220.0], [190.0, 220.0, 215.0], False),
        ([200.0, 210.0, 220.0], [210.0, 205.0, 230.0], True),
        ([0.0, 10.0, 0.0], [5.0, 5.0, 5.0], True),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], False),
    ],
    ids=["luck", "better", "the defaults cannot", "neither can"],
)
def test_a_winner_that_only_had_luck_does_not_replace_the_defaults(
    defaults: list[float], tuned: list[float], wins: bool
) -> None:
    goodput = {"defaults": defaults, "tuned": tuned}
    nothing: dict[str, list[Any]] = {name: [] for name in goodput}
    comparison = summary(goodput, nothing, nothing, Plan(url=""), Objective(limits_ms={"p99": 50.0}))
    found = {**tuning.DEFAULTS, "workers": 2}
    assert tuning.better(found, comparison) == (found if wins else tuning.DEFAULTS)


def test_settings_with_which_the_service_does_not_start_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "SPACE", {"workers": [1, -1]})  # a semaphore of -1 cannot be made
    monkeypatch.setattr(tuning, "DEFAULTS", {"workers": 1})
    arguments = ["tune", f"{COMMAND} {{settings}}", "--rounds", "1", "--slo", "p99=100ms", "--out", str(tmp_path)]
    assert main([*arguments, "--minutes", "0.5"]) == EXIT_PASSED
    assert "did not start" in capsys.readouterr().out
    result = json.loads((tmp_path / "tune.json").read_text())
    assert result["settings"] == {"workers": 1}
    assert {trial["kind"] for trial in result["trials"]} == {"chosen: the default", "trial"}


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


def test_the_presets_are_the_two_classical_objectives() -> None:
    plan = Plan(url="", mix=Mix(long_share=0.5))
    bert, objective = tuning.with_preset("bert", plan)
    assert objective.limits_ms == {"p99": 100.0}
    assert bert.mix == Mix(long_share=0.5, hard_share=1.0)
    cascade, objective = tuning.with_preset("cascade", plan)
    assert objective.limits_ms == {"p99": 50.0}
    assert cascade.mix == plan.mix


def test_every_setting_that_is_tuned_is_one_of_the_service() -> None:
    from serving.settings import Settings

    assert set(tuning.SPACE) == set(Settings.model_fields)
    assert Settings(**tuning.DEFAULTS) == Settings()
    for name, values in tuning.SPACE.items():
        for value in values:
            Settings(**{name: value})
    assert Settings(**tomllib.loads(tuning.as_toml(tuning.DEFAULTS, ["why"]))) == Settings()
