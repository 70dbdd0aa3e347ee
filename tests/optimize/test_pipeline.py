"""A whole run: repeatable, resumable, and nothing half written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact
from tests.conftest import ROOT, TinyCascades, interruptible, optimize


def manifests(build: Path, name: str) -> list[dict[str, Any]]:
    found = [json.loads((build / f"{name}-{role}" / "manifest.json").read_text()) for role in ("screen", "expert")]
    for manifest in found:
        assert manifest.pop("times")["created"]
        # Which of two graphs is faster is measured, not computed from the recipe.
        manifest.pop("default_cpu")
    return found


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_same_recipe_same_seed_same_manifest(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path, name: str
) -> None:
    recipe = tiny_recipes[name]
    optimize("evaluate", recipe, "--root", recipe.parent, "--build", tmp_path)
    assert manifests(tmp_path, name) == manifests(tiny_cascades.builds[name], name)


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_what_a_run_writes(tiny_cascades: TinyCascades, name: str) -> None:
    screen, expert = (Artifact.open(tiny_cascades.artifact(name, role)) for role in ("screen", "expert"))
    point = OperatingPoint.read(tiny_cascades.artifact(name, "operating-point"))
    point.require_pair(screen.digest, expert.digest)
    for artifact in (screen, expert):
        manifest = artifact.manifest
        assert manifest.default_cpu in manifest.variants
        assert {"recipe", "recipe_digest", "checkpoint", "data", "steps"} <= set(manifest.provenance)
        assert {"torch", "onnx", "onnxruntime-gpu", "optimum", "neural-compressor"} <= set(manifest.versions)
        assert set(manifest.quality) == set(manifest.variants)
        verdicts = json.loads((artifact.folder / "evidence" / "verdicts.json").read_text())
        assert {verdict["graph"] for verdict in verdicts} >= {f"{manifest.role}/export"}
        names = {path.relative_to(artifact.folder).as_posix() for path in artifact.folder.rglob("*") if path.is_file()}
        evidence = {f"evidence/{name}.json" for name in ("verdicts", *manifest.variants)}
        assert names == {"manifest.json", *evidence, *manifest.files}
    sizes = [artifact.manifest.variants["cpu-fp32"].size_bytes for artifact in (screen, expert)]
    assert sizes[0] < sizes[1]
    assert not list(tiny_cascades.builds[name].glob("*.partial"))


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
    recipe.write_text(tiny_recipes["tiny-text"].read_text().replace("epochs = 8", "epochs = 1"))

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


def test_a_failed_gate_publishes_nothing(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = tiny_recipes["tiny-image"].read_text()
    recipe.write_text(text.replace("[gates]", "[gates]\nmax_logit_gap = 1e-12"))
    done = optimize("run", recipe, "--build", tmp_path / "build", home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "nothing is published" in done.stderr
    assert not list((tmp_path / "home").rglob("model.yaml"))
    assert not list((tmp_path / "build").glob("tiny-image-*"))


def test_data_of_another_kind_is_refused(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = tiny_recipes["tiny-image"].read_text()
    recipe.write_text(text.replace('source = "digits"\nlimit = 900', 'source = "payments"\nsize = 100'))
    done = optimize("fine-tune", recipe, "--build", tmp_path / "build", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: recipe tiny-image is for image and its data holds text")
