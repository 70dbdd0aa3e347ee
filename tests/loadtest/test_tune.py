"""Settings that are searched for, against real processes whose capacity is known."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from loadtest import tune as tuning
from loadtest.__main__ import EXIT_PASSED, EXIT_WRONG, main
from loadtest.traffic.plan import Plan
from loadtest.traffic.workload import Mix
from loadtest.verdict.comparison import Comparison, Rounds, summary
from loadtest.verdict.objective import Objective
from tests.loadtest.conftest import COMMAND

FOUND = {**tuning.DEFAULTS, "workers": tuning.DEFAULTS["workers"] + 1}

pytestmark = pytest.mark.usefixtures("computed_runs")


def compared(defaults: list[float], tuned: list[float]) -> Comparison:
    measured = {"defaults": Rounds(defaults), "tuned": Rounds(tuned)}
    return summary(measured, Plan(url=""), Objective(limits_ms={"p99": 50.0}))


def test_tune_finds_the_better_settings_writes_them_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "SPACE", {"workers": [1, 6]})
    monkeypatch.setattr(tuning, "DEFAULTS", {"workers": 1})
    arguments = ["tune", f"{COMMAND} {{settings}}", "--rounds", "5", "--slo", "p99=100ms", "--out", str(tmp_path)]
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
        ([200.0, 210.0, 220.0, 205.0, 215.0], [190.0, 220.0, 215.0, 215.0, 225.0], False),
        ([200.0, 210.0, 220.0, 205.0, 215.0], [210.0, 205.0, 230.0, 215.0, 225.0], False),
        ([200.0, 210.0, 220.0, 205.0, 215.0], [210.0, 215.0, 230.0, 215.0, 225.0], True),
        ([0.0, 10.0, 0.0, 0.0, 0.0], [5.0] * 5, False),
        ([0.0] * 5, [5.0] * 5, True),
        ([0.0] * 5, [0.0] * 5, False),
    ],
    ids=["luck", "better but in one round", "better", "the defaults can once", "the defaults cannot", "neither can"],
)
def test_a_winner_that_only_had_luck_does_not_replace_the_defaults(
    defaults: list[float], tuned: list[float], wins: bool
) -> None:
    assert tuning.better(FOUND, compared(defaults, tuned)) == (FOUND if wins else tuning.DEFAULTS)


@pytest.mark.parametrize("rounds", [5, 6, 7, 8, 9, 12])
def test_where_nothing_is_better_the_defaults_stay(rounds: int) -> None:
    """Null cases: rounds whose goodputs differ by noise, and by what the machine does in the meantime."""
    rng = np.random.default_rng(rounds)
    cases, replaced = 400, 0
    for _ in range(cases):
        machine = rng.lognormal(0.0, 0.1, rounds)
        defaults, tuned = (200 * machine * rng.lognormal(0.0, 0.05, rounds) for _ in range(2))
        replaced += tuning.better(FOUND, compared(defaults.tolist(), tuned.tolist())) == FOUND
    # 1 in 32 at most is promised; 400 cases at that rate exceed 25 once in a thousand times.
    assert replaced <= 25


def test_settings_that_are_better_by_a_tenth_are_found() -> None:
    rng = np.random.default_rng(1)
    cases = [(200 * rng.lognormal(0.0, 0.03, 5), 220 * rng.lognormal(0.0, 0.03, 5)) for _ in range(200)]
    won = [tuning.better(FOUND, compared(defaults.tolist(), tuned.tolist())) == FOUND for defaults, tuned in cases]
    assert sum(won) > 160


def test_too_few_rounds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["tune", f"{COMMAND} {{settings}}", "--rounds", "4", "--out", str(tmp_path)]
    assert main(arguments) == EXIT_WRONG
    assert "--rounds: must be at least 5, since luck wins fewer too often, got 4" in capsys.readouterr().err


def test_another_objective_is_another_study(tmp_path: Path) -> None:
    def key(**objective: float) -> str:
        return tuning.Tuning(
            command=("x",), plan=Plan(url=""), objective=Objective(**objective), minutes=1, rounds=5, folder=tmp_path
        ).key

    keys = {key(), key(goodput_per_s=5), key(goodput_with_degraded_per_s=5), key(max_degraded_share=0.5)}
    assert len(keys) == 4
    assert key() == key()


def test_settings_with_which_the_service_does_not_start_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "SPACE", {"workers": [1, -1]})  # a semaphore of -1 cannot be made
    monkeypatch.setattr(tuning, "DEFAULTS", {"workers": 1})
    arguments = ["tune", f"{COMMAND} {{settings}}", "--rounds", "5", "--slo", "p99=100ms", "--out", str(tmp_path)]
    assert main([*arguments, "--minutes", "0.5"]) == EXIT_PASSED
    assert "did not start" in capsys.readouterr().out
    result = json.loads((tmp_path / "tune.json").read_text())
    assert result["settings"] == {"workers": 1}
    assert {trial["kind"] for trial in result["trials"]} == {"chosen: the default", "trial"}


def test_the_presets_are_the_two_classical_objectives() -> None:
    plan = Plan(url="", mix=Mix(long_share=0.5))
    bert, objective = tuning.with_preset("bert", plan)
    assert objective.limits_ms == {"p99": 100.0}
    assert bert.mix == Mix(long_share=0.5, hard_share=1.0)
    cascade, objective = tuning.with_preset("cascade", plan)
    assert objective.limits_ms == {"p99": 50.0}
    assert cascade.mix == plan.mix


def test_every_setting_that_is_tuned_is_one_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import settings
    from serving.settings import Settings

    # The service also heeds a quota of its cgroup.
    monkeypatch.setattr(settings, "cores", lambda: tuning.CORES)

    no_matter_of_speed = {"image_formats", "page", "cors_origins", "requests_per_address", "trusted_proxies"}
    of_the_traffic = {"cache_mb"}  # what it gives is how often requests come again
    of_the_machine = {
        "device",
        "gpu_memory_mb",
        "gpu_graphs",
        "gpu_layout",
        "gpu_runtime",
        "engine_folder",
        "max_batch_tokens",
    }  # which GPUs, and their memory
    of_what_is_watched = {
        "audit_share",
        "audit_folder",
        "audit_url",
        "on_broken",
        "feedback_memory",
        "shadow_share",
        "shadow_margin",
    }
    of_what_is_kept = {"keep_payloads", "payload_folder", "payload_mb"}
    watched = of_what_is_watched | of_what_is_kept
    others = no_matter_of_speed | of_the_traffic | of_the_machine | watched
    assert set(tuning.SPACE) == set(Settings.model_fields) - others
    assert Settings(**tuning.DEFAULTS) == Settings()
    for name, values in tuning.SPACE.items():
        for value in values:
            Settings(**{name: value})
    assert Settings(**tomllib.loads(tuning.as_toml(tuning.DEFAULTS, ["why"]))) == Settings()
