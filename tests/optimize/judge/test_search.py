"""The search: finds the fastest screen that holds, keeps its trials, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from optimize.build import Build
from optimize.data.inputs import Preparer
from optimize.data.splits import Split
from optimize.errors import RecipeError
from optimize.judge.search import Trial, choose, search
from optimize.recipe import Search, read_recipe, with_choices
from tests.conftest import ROOT, interruptible, optimize

SEARCH = """
[search]
trials = 3
time_budget_s = 600
max_accuracy_drop = 1.0
[search.space]
"distill.depths" = [[2, 2, 2], [1, 1, 1]]
"prune.channels_share" = [0.5, 0.0]
"""


def trial(number: int, drop: float, speedup: float) -> Trial:
    figures = {"accuracy": 0.9, "latency_ms": 1 / speedup, "size_bytes": 1, "seconds": 1.0}
    return Trial(number=number, choices={}, graph="g", precision="int8", accuracy_drop=drop, speedup=speedup, **figures)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([trial(0, 0.0, 5), trial(1, 0.01, 9), trial(2, 0.02, 20)], 1),
        ([trial(0, 0.0, 2), trial(1, 0.01, 3), trial(2, 0.02, 20)], 1),
        ([trial(0, 0.05, 9), trial(1, 0.03, 5), trial(2, 0.03, 7)], 2),
        ([trial(0, 0.01, 4.0), trial(1, 0.0, 4.1)], 1),
    ],
    ids=["fastest that holds", "none is fast enough: the fastest that is good", "none is good: the best", "ties"],
)
def test_which_trial_is_chosen(trials: list[Trial], chosen: int) -> None:
    wanted = Search(space={"prune.channels_share": [0.5]}, max_accuracy_drop=0.01, min_speedup=4, caution=0)
    assert choose(trials, wanted, 100).number == chosen


def test_caution_allows_for_the_luck_of_the_best() -> None:
    trials = [trial(0, 0.004, 5), trial(1, 0.008, 9)]
    space = {"prune.channels_share": [0.5]}
    # With an accuracy of 0.9, a standard error of 100 items is 0.03 and one of 10,000 is 0.003.
    for items, chosen in ((10_000, 0), (1_000_000, 1), (100, 0)):
        assert choose(trials, Search(space=space, max_accuracy_drop=0.01), items).number == chosen


@pytest.fixture
def recipe(tiny_recipes: dict[str, Path], tmp_path: Path) -> Path:
    path = tmp_path / "searched.toml"
    # Short trainings and float graphs, quickly made: a search does the same with poor models.
    text = re.sub("epochs = [0-9]+", "epochs = 1", tiny_recipes["tiny-image"].read_text())
    text = text.replace('[[screen]]\nstep = "quantize"\ntolerable_loss = 0.5\n', "")
    path.write_text(text.replace('step = "distill"', 'step = "distill"\ncontrol = false') + SEARCH)
    return path


def test_choices_change_the_steps_and_a_prune_step_that_prunes_nothing_goes(recipe: Path) -> None:
    screen = read_recipe(str(recipe)).screen
    changed = with_choices(screen, {"distill.depths": [2, 2, 2], "prune.channels_share": 0.0})
    assert [step.step for step in changed] == ["distill", "export"]
    assert changed[0].depths == (2, 2, 2)
    assert changed[0].epochs == screen[0].epochs


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"distill.depths"', '"fuse.precision"', "'fuse.precision' must be STEP.FIELD of a step of the screen"),
        ('"distill.depths"', '"distill.depth"', "search.space: distill.depth: Extra inputs are not permitted"),
        ("[0.5, 0.0]", "[0.5, 1.5]", "search.space: prune.channels_share: Input should be less than 1, got 1.5"),
        ("trials = 3", "trials = 0", "search.trials: .*greater than or equal to 1, got 0"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_when_read(recipe: Path, old: str, new: str, says: str) -> None:
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(RecipeError, match=says):
        read_recipe(str(recipe))


def report(build: Path) -> Any:
    return json.loads((build / "report.json").read_text())


def test_a_run_searches_reports_and_does_not_search_again(recipe: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    said = optimize("run", recipe, "--build", build, home=tmp_path / "home").stdout
    assert said.count("times as fast as the teacher") >= 3
    assert said.count("published tiny-image-") == 3
    found = report(build)
    assert len(found["trials"]) == 3
    assert found["trials"][0]["choices"] == {"distill.depths": [2, 2, 2], "prune.channels_share": 0.5}
    fastest = max(found["trials"], key=lambda t: t["speedup"])
    assert found["chosen_trial"] == fastest["number"] != 0
    steps = {row["name"] for row in found["steps"]}
    assert ("screen/prune" in steps) == (fastest["choices"]["prune.channels_share"] > 0)
    trials = {f"trial {trial['number']}" for trial in found["trials"]}
    assert {point["name"] for point in found["pareto"]} >= {"teacher", *trials}

    # Only what was chosen stays on the disk; the trials are remembered.
    assert len(list((build / "screen").glob("export-*.onnx"))) == 1
    again = optimize("evaluate", recipe, "--build", build).stdout
    assert "trial 0" not in again
    assert report(build)["trials"] == found["trials"]

    # More trials go on from there.
    recipe.write_text(recipe.read_text().replace("trials = 3", "trials = 4"))
    optimize("evaluate", recipe, "--build", build)
    more = report(build)["trials"]
    assert more[:3] == found["trials"]
    assert len(more) == 4


def test_a_search_tokenises_each_split_once(
    tiny_recipes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teacher, students and the trials' measurements see the same arrays."""
    path = tmp_path / "searched.toml"
    text = re.sub("epochs = [0-9]+", "epochs = 1", tiny_recipes["tiny-text"].read_text())
    path.write_text(text + SEARCH.partition('"distill.depths"')[0] + '"prune.heads_share" = [0.5, 0.25]\n')
    build = Build(read_recipe(str(path)), root=tiny_recipes["tiny-text"].parent, folder=tmp_path / "build")
    prepared, usual = [], Preparer.prepare

    def prepare(preparer: Preparer, split: Split, folder: Path) -> Any:
        prepared.append(split.name)
        return usual(preparer, split, folder)

    monkeypatch.setattr(Preparer, "prepare", prepare)
    _, trials, _ = search(build)
    assert len(trials) == 2
    assert prepared == ["train", "selection"]


def test_time_that_is_up_starts_no_new_trial(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text().replace("time_budget_s = 600", "time_budget_s = 0.001"))
    done = optimize("evaluate", recipe, "--build", tmp_path / "build")
    assert len(report(tmp_path / "build")["trials"]) == 1, done.stdout


def test_a_search_that_was_stopped_goes_on(recipe: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    recipe.write_text(
        recipe.read_text().replace("epochs = 1\nlearning_rate = 3e-3", "epochs = 6\nlearning_rate = 3e-3")
    )
    command = [sys.executable, "-m", "optimize", "evaluate", str(recipe), "--build", str(build)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, preexec_fn=interruptible, **pipes)
    limit = time.monotonic() + 240
    said = ""
    while "trial 1: distill" not in said and time.monotonic() < limit:
        said += process.stdout.readline()  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command again to go on from here" in errors

    said = optimize("evaluate", recipe, "--build", build).stdout
    assert "trial 0: " not in said, "it was done"
    assert len(report(build)["trials"]) == 3
