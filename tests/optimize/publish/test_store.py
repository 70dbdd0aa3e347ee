from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import yaml

from serving.model.artifact import Artifact
from tests.conftest import TinyCascades, optimize
from tests.server import command


def listed(home: Path) -> str:
    line, environment = command("models", "list", home=home)
    environment["COLUMNS"] = "200"
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout


def test_publishing_twice_keeps_one_entry(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    recipe, build = tiny_recipes["tiny-text"], tiny_cascades.builds["tiny-text"]
    before = optimize("publish", recipe, "--build", build, home=tiny_cascades.home).stdout
    assert before.count("published tiny-text-") == 3
    assert before == optimize("publish", recipe, "--build", build, home=tiny_cascades.home).stdout
    assert listed(tiny_cascades.home).count("tiny-text-screen:") == 1

    # Measured again, the same models have other times, and are the same models.
    manifest = build / "tiny-text-screen" / "manifest.json"
    kept = manifest.read_text()
    manifest.write_text(kept.replace('"created": "2', '"created": "3'))
    assert before == optimize("publish", recipe, "--build", build, home=tiny_cascades.home).stdout
    manifest.write_text(kept)

    # A changed threshold is another operating point.
    shutil.copytree(tiny_cascades.home / "models", tmp_path / "home" / "models", symlinks=True)
    build = Path(shutil.copytree(build, tmp_path / "build"))
    point = build / "tiny-text-operating-point" / "operating-point.json"
    point.write_text(json.dumps({**json.loads(point.read_text()), "threshold": 0.5}))
    optimize("verify", recipe, "--root", recipe.parent, "--build", build)
    assert before != optimize("publish", recipe, "--build", build, home=tmp_path / "home").stdout


def test_an_entry_can_be_read_by_a_person(tiny_cascades: TinyCascades) -> None:
    shown = listed(tiny_cascades.home)
    for name in ("tiny-text", "tiny-image"):
        assert f"{name}-operating-point:" in shown
        for role in ("screen", "expert"):
            assert f"{name}-{role}:" in shown
            assert f"sieve.{role}" in shown
            artifact = Artifact.open(tiny_cascades.artifact(name, role))
            (path,) = list((tiny_cascades.home / "models" / f"{name}-{role}").glob("*/model.yaml"))
            entry = yaml.safe_load(path.read_text())
            assert entry["labels"] == {
                "sieve-role": role,
                "sieve-recipe": name,
                "digest": artifact.digest[:12],
                "data": "real",
            }
            assert entry["metadata"]["default_cpu"] in entry["metadata"]["variants"]
            assert entry["metadata"]["quality"] == artifact.manifest.quality
            assert Artifact.open(path.parent).digest == artifact.digest


def test_a_damaged_artifact_is_not_published(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-image"], tmp_path / "build"))
    graph = next((build / "tiny-image-screen").glob("cpu-*/model.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1])
    recipe = tiny_recipes["tiny-image"]
    done = optimize("publish", recipe, "--build", build, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "its sha256 is not the one in manifest.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_publishing_before_evaluating_names_the_command(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tiny_recipes["tiny-image"]
    done = optimize("publish", recipe, "--build", tmp_path / "build", home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "python -m optimize run" in done.stderr
