"""A cascade that gives images label sets: from a table with a column for each label to the answers of a service."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optimize.build import Build
from optimize.judge.measure import logits_of
from optimize.pipeline import evaluate, verify_again
from optimize.recipe import read_recipe
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint
from serving.expert.call import Ran
from serving.load.budget import MAX_MS, Budget
from serving.model.artifact import Artifact
from serving.model.head import Sigmoid, head_of
from serving.model.image_header import read_header
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.settings import Settings
from serving.timings import Timings
from tests.tiny_recipes import GATES

LABELS = ("blue", "green", "red")
SIDE = 8
RECIPE = f"""
name = "tiny-lights"
task = "image"
seed = 3

[checkpoint]
source = "fresh-cifar-resnet"
depths = [2, 1]
widths = [8, 16]
image_size = {SIDE}

[data]
source = "files"
train = "lights.csv"
image_column = "photo"
label_columns = ["blue", "green", "red"]
problem = "multi-label"
calibration_size = 16

[image]
width = {SIDE}
height = {SIDE}
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]

[[teacher]]
step = "fine-tune"
epochs = 10
learning_rate = 1e-2

[[expert]]
step = "export"

[[screen]]
step = "distill"
depths = [1, 1]
epochs = 3
learning_rate = 1e-2
control = false

[[screen]]
step = "export"

{GATES}
[operating_point]
alpha = 0.2
"""


def write_lights(folder: Path, count: int = 280) -> None:
    """Photos of noise with a lamp of each colour switched on or off, and a table of them."""
    rng = np.random.default_rng(0)
    on = rng.integers(0, 2, (count, 3))  # red, green, blue
    (folder / "photos").mkdir()
    rows = []
    for number, lamps in enumerate(on):
        pixels = rng.integers(0, 110, (SIDE, SIDE, 3))
        row, column = rng.integers(0, SIDE - 3, 2)
        pixels[row : row + 4, column : column + 4] += 120 * lamps
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / f"{number}.png")
        rows.append((f"photos/{number}.png", *(bool(lamp) for lamp in lamps)))
    with (folder / "lights.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("photo", "red", "green", "blue"), *rows])


def evaluated(root: Path, recipe: str) -> Build:
    """The build of a recipe, with a few rounds for latencies, on which nothing depends here."""
    (root / "lights.toml").write_text(recipe)
    build = Build(read_recipe(str(root / "lights.toml")), root=root, folder=root / "build")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("optimize.pipeline.ROUNDS", 3)
        report = evaluate(build, "a test")
    assert report["models"]["teacher"]["micro_f1"] > 0.9
    assert report["data"]["problem"] == "multi-label"
    return build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Build:
    root = tmp_path_factory.mktemp("lights")
    write_lights(root)
    return evaluated(root, RECIPE)


def stored(build: Build, point: OperatingPoint) -> StoredCascade:
    screen, expert = (Artifact.open(build.artifact_folder(stage)) for stage in ("screen", "expert"))
    return StoredCascade(
        screen=StoredModel(screen, "screen:1"),
        expert=StoredModel(expert, "expert:1"),
        point=StoredPoint(point, "point:1"),
    )


class Expert:
    """The expert's artifact in this process."""

    def __init__(self, opened: Artifact, variant: Any) -> None:
        self.runner = Runner(Session(opened, variant), preprocessor(opened))

    async def __call__(self, items: Sequence[Any], *_: Any) -> Ran:
        return Ran(self.runner.run(items), 0.1)

    async def describe(self) -> Mapping[str, str]:
        return {"variant": self.runner.session.variant}

    async def close(self) -> None:
        """There is nothing to close."""


def test_both_stages_have_a_threshold_for_each_label(made: Build) -> None:
    for stage in ("screen", "expert"):
        manifest = Artifact.open(made.artifact_folder(stage)).manifest
        assert manifest.labels == LABELS
        assert isinstance(head_of(manifest), Sigmoid)
        assert set(manifest.quality[manifest.default_cpu]) == {"holdout_micro_f1"}


def test_what_was_made_is_verified_again(made: Build, capsys: pytest.CaptureFixture[str]) -> None:
    verify_again(Build(made.recipe, root=made.root, folder=made.folder), "a test")
    assert "made in" not in capsys.readouterr().out


def test_an_image_gets_every_label_that_fits(made: Build) -> None:
    """The answers are those of the graphs that were measured; the least sure label decides who is asked."""
    point, split = OperatingPoint.read(made.point_folder), made.splits.holdout
    cascade = stored(made, point)
    ours = Runner(Session(cascade.screen.artifact, point.screen_variant), preprocessor(cascade.screen.artifact))
    items = list(made.prepared_for(made.results[0], split).items)
    screen = head_of(cascade.screen.artifact.manifest).answers(ours.run(items), LABELS, point.screen_temperature)
    threshold = float(np.median([answer.confidence for answer in screen]))
    cascade = stored(made, point.model_copy(update={"threshold": threshold}))
    expert = Expert(cascade.expert.artifact, point.expert_variant)
    theirs = head_of(cascade.expert.artifact.manifest).answers(
        expert.runner.run(items), LABELS, point.expert_temperature
    )

    async def answers() -> list[Any]:
        modality = Modality(cascade, expert, Settings(), tell_drift=lambda _: None)
        assert not modality.golden.against
        prepared = [modality.prepare(read_header(image.read(), image.name)) for image in split.inputs]
        budget = Budget(time.monotonic(), MAX_MS)
        own, other = [item.screen for item in prepared], [item.expert for item in prepared]
        return await modality.cascade.classify(own, other, budget, Timings())

    given = asyncio.run(answers())
    assert {answer.stage for answer in given} == {"screen", "expert"}
    for answer, one, other in zip(given, screen, theirs, strict=True):
        assert answer.answer.label == (one if answer.stage == "screen" else other).label
    right = [set(answer.answer.label) == labels for answer, labels in zip(given, sets_of(split.targets), strict=True)]
    assert np.mean(right) > 0.8
    assert {0, 1, 2, 3} <= {len(answer.answer.label) for answer in given}


def sets_of(targets: Any) -> list[set[str]]:
    return [{LABELS[place] for place in np.flatnonzero(row)} for row in targets]


def test_the_graphs_say_what_the_checkpoints_say(made: Build) -> None:
    selection = made.prepared("selection")
    by_name = {result.name: logits_of(made, result, selection) for result in made.results}
    np.testing.assert_allclose(by_name["expert/export"], by_name["teacher/fine-tune"], atol=1e-4)


@pytest.mark.slow  # a static quantization exports the model twice
def test_label_sets_of_images_in_int8(tmp_path: Path) -> None:
    write_lights(tmp_path)
    quantize = '\n[[screen]]\nstep = "quantize"\ntolerable_loss = 0.5\n'
    build = evaluated(tmp_path, RECIPE.replace("\n[gates]", f"{quantize}\n[gates]"))
    assert "screen/quantize" in {result.name for result in build.results}
    assert "cpu-int8" in Artifact.open(build.artifact_folder("screen")).manifest.variants
