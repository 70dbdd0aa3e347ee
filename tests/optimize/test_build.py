"""A build folder: results are made once, reused by their keys, and never half written."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from optimize.build import Build
from optimize.errors import CheckpointError, StepError
from optimize.judge.measure import logits_of, measure
from optimize.recipe import Recipe, read_recipe
from serving.errors import ProviderError
from serving.model import runtimes
from serving.model.artifact import ImageSettings, TextSettings
from tests.commands import ROOT, interruptible, optimize
from tests.optimize.models.resnets import resnet_state
from tests.tiny import TinyCascades
from tests.tiny_recipes import TEXT_RECIPE


def test_the_holdout_is_read_once_a_run(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    build = Build(read_recipe(str(tiny_recipes["tiny-image"])), root=tmp_path, folder=tmp_path / "build")
    assert len(build.read_holdout()) > 0
    for again in (build.read_holdout, build.with_screen(build.recipe.screen).read_holdout):
        with pytest.raises(StepError, match="read once a run"):
            again()
    with pytest.raises(StepError, match="for the reported figures alone"):
        build.prepared("holdout")


def test_a_second_run_reuses_every_step(tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path]) -> None:
    recipe = tiny_recipes["tiny-image"]
    said = optimize("quantize", recipe, "--root", recipe.parent, "--build", tiny_cascades.builds["tiny-image"]).stdout
    steps = (
        "teacher/fine-tune",
        "screen/control",
        "screen/distill",
        "screen/prune",
        "screen/export",
        "screen/quantize",
    )
    assert [line.partition(":")[0] for line in said.splitlines() if line.endswith("reused")] == list(steps)
    assert "made in" not in said


def test_a_changed_checkpoint_is_another_one(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "root"
    shutil.copytree(tiny_recipes["tiny-text"].parent / "tiny-bert", folder / "tiny-bert")
    shutil.copy(tiny_recipes["tiny-text"].parent / "messages.csv", folder)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tiny_recipes["tiny-text"].read_text().replace("epochs = 16", "epochs = 1"))

    def said() -> str:
        return optimize("fine-tune", recipe, "--root", folder, "--build", tmp_path / "build").stdout

    assert "made in" in said()
    assert "reused" in said()
    (folder / "tiny-bert" / "README.md").write_text("another file in the same folder")
    assert "made in" in said()


def test_a_changed_step_is_made_again_with_what_follows_it(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = tiny_recipes["tiny-image"].read_text()
    recipe.write_text(text)
    optimize("export", recipe, "--build", tmp_path / "build")
    recipe.write_text(text.replace("channels_share = 0.5", "channels_share = 0.25"))
    said = optimize("export", recipe, "--build", tmp_path / "build").stdout.splitlines()
    made = [line.partition(":")[0] for line in said if "made in" in line]
    assert made == ["screen/prune", "screen/export"]


def in_windows(recipe: Path, path: Path, watch: str) -> Path:
    windows = f'max_tokens = 48\nlong_texts = "windows"\nwatch = "{watch}"'
    path.write_text(recipe.read_text().replace("max_tokens = 48", windows))
    return path


def test_a_label_to_watch_must_be_one_of_the_data(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = in_windows(tiny_recipes["tiny-text"], tmp_path / "recipe.toml", "spam")
    root = tiny_recipes["tiny-text"].parent
    done = optimize("fine-tune", recipe, "--root", root, "--build", tmp_path / "build", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: text.watch must be a label of the data, got 'spam'; name one of its 6")


def test_windows_train_nothing_anew_and_measure_all_of_a_text(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    recipe = in_windows(tiny_recipes["tiny-text"], tmp_path / "recipe.toml", "fraud-report")
    build = Build(
        read_recipe(str(recipe)), root=tiny_recipes["tiny-text"].parent, folder=tiny_cascades.builds["tiny-text"]
    )
    before = {path: path.stat().st_mtime_ns for path in build.folder.glob("*/*")}
    build.carry_out()
    assert before == {path: path.stat().st_mtime_ns for path in build.folder.glob("*/*")}
    assert isinstance(build.preparer.settings, TextSettings)
    assert build.preparer.settings.watched_label == build.splits.labels.index("fraud-report")
    long = " ".join(build.splits.train.inputs[:20])
    train, selection = (
        dataclasses.replace(split, inputs=[long, *split.inputs[1:]])
        for split in (build.splits.train, build.splits.selection)
    )
    assert {item.ndim for item in build.preparer.prepare(train).items} == {1}
    prepared = build.preparer.prepare(selection)
    assert [prepared.items[place].ndim for place in (0, 1)] == [2, 1]
    checkpoint, export = build.checkpoint_of("screen"), build.graphs("screen")[0]
    theirs, ours = (logits_of(build, result, prepared) for result in (checkpoint, export))
    assert theirs.shape == (len(selection), len(build.splits.labels))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert measure(build, [checkpoint, export], lambda _: prepared, rounds=2).keys() == {checkpoint.name, export.name}


def test_an_interrupted_run_goes_on_where_it_was(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tiny_recipes["tiny-image"].read_text().replace("epochs = 6", "epochs = 400"))
    command = [sys.executable, "-m", "optimize", "fine-tune", str(recipe), "--build", str(tmp_path / "build")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, preexec_fn=interruptible, **pipes)
    limit = time.monotonic() + 120
    while not list((tmp_path / "build").glob("training-*.pt")) and time.monotonic() < limit:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on from here" in said
    assert "Traceback" not in said
    (kept,) = (tmp_path / "build").glob("training-*.pt")
    import torch

    assert 1 <= torch.load(kept, weights_only=True)["epoch"] < 400
    assert not list((tmp_path / "build" / "teacher").glob("*"))


def test_what_was_left_out_stands_beside_the_data_and_not_in_its_keys(tmp_path: Path) -> None:
    rows = "".join(
        f"message {chr(97 + place % 26)}{chr(97 + place // 26)},{'even' if place % 2 == 0 else 'odd'}\n"
        for place in range(80)
    )
    (tmp_path / "rows.csv").write_text("text,label\n" + rows + ",odd\n")
    recipe = TEXT_RECIPE.replace('train = "messages.csv"', 'train = "rows.csv"\nbad_rows = "leave-out"')
    (tmp_path / "recipe.toml").write_text(recipe)
    build = Build(read_recipe(str(tmp_path / "recipe.toml")), root=tmp_path, folder=tmp_path / "build")
    (note,) = build.splits.notes
    assert note.startswith("left out: 1 of 81 rows cannot be used: 1 with no 'text' (row 81 of rows.csv)")
    stored = json.loads((tmp_path / "build" / "data.json").read_text())
    assert stored == build.splits.describe() | {"notes": [note]}
    assert "notes" not in build.splits.describe()


def test_data_of_another_kind_is_refused(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = tiny_recipes["tiny-image"].read_text()
    recipe.write_text(text.replace('source = "digits"\nlimit = 900', 'source = "payments"\nsize = 100'))
    done = optimize("fine-tune", recipe, "--build", tmp_path / "build", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: recipe tiny-image is for image and its data holds text")


def image_build_of(folder: Path, *, channels: int, image: dict[str, object] | None) -> Build:
    """A build whose checkpoint is a state dict of torchvision's for the three labels of 60 random images."""
    torch.save(resnet_state(channels=channels), folder / "resnet18.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "data.npz", train_x=pixels, train_y=np.arange(60) % 3)
    described = {
        "name": "photos",
        "task": "image",
        "checkpoint": {"source": "state-dict", "path": "resnet18.pth"},
        "data": {"source": "npz", "path": "data.npz", "holdout_keys": [], "classes_key": "", "calibration_size": 4},
        "image": image,
        "teacher": [{"step": "fine-tune", "epochs": 1, "learning_rate": 1e-3}],
        "expert": [{"step": "export"}],
        "screen": [{"step": "export"}],
    }
    return Build(Recipe.model_validate(described), root=folder, folder=folder / "build")


def test_a_recipe_without_image_settings_takes_those_of_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = image_build_of(tmp_path, channels=3, image=None)
    settings = build.preparer.settings
    assert isinstance(settings, ImageSettings)
    assert (settings.width, settings.resize_short_side, settings.resample) == (224, 256, "bilinear")
    said = capsys.readouterr().out
    assert "image: as the checkpoint says: kind = image, width = 224" in said
    given = image_build_of(tmp_path, channels=3, image=settings.model_dump())
    assert given.teacher.key == build.teacher.key, "the same settings, wherever they stand"


def test_image_settings_that_differ_are_said_and_the_recipes_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"width": 16, "height": 16, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    build = image_build_of(tmp_path, channels=3, image=table)
    assert build.preparer.settings == ImageSettings.model_validate(table)
    said = [line for line in capsys.readouterr().out.splitlines() if "differs" in line]
    assert said == [
        "image: [image] differs from torchvision's published settings: width = 16 (there 224), height = 16 (there "
        "224), resize_short_side = None (there 256); the recipe's is used"
    ]


def test_a_model_for_other_channels_is_refused_before_training(tmp_path: Path) -> None:
    table = {"width": 16, "height": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    build = image_build_of(tmp_path, channels=1, image=table)
    with pytest.raises(CheckpointError, match=r'images of 1 channel, .* set \[image\] mode = "L"'):
        build.carry_out()
    without = image_build_of(tmp_path, channels=1, image=None)
    with pytest.raises(CheckpointError, match=r"brings no settings for images; add the table \[image\]"):
        without.carry_out()


def test_a_runtime_that_is_missing_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TEXT_RECIPE.replace("[gates]", '[gates]\nruntimes = ["onnxruntime", "openvino"]'))
    monkeypatch.setattr(runtimes, "is_installed", lambda runtime: runtime == "onnxruntime")
    with pytest.raises(ProviderError, match=r"^OpenVINO is not installed; install it with `pip install"):
        Build.opened(str(recipe), root=tmp_path, folder=tmp_path / "build")
    assert not (tmp_path / "build").exists()
