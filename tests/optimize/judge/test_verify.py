"""Evidence of what was published, read from the artifacts as they are served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from optimize.build import Build
from optimize.judge.company import MAX_GAP
from optimize.judge.measure import served_logits
from optimize.judge.verify import EXACT_ITEMS, MAX_EXACT_GAP_SHARE, arithmetic
from optimize.steps.quantize import quantize_dynamic
from serving.model.artifact import Artifact, sha256_of, write_json
from tests.conftest import TinyCascades, optimize
from tests.optimize.conftest import result


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_every_variant_leaves_evidence(tiny_cascades: TinyCascades, name: str) -> None:
    for role in ("screen", "expert"):
        artifact = Artifact.open(tiny_cascades.artifact(name, role))
        for variant in artifact.manifest.variants:
            evidence = json.loads((artifact.folder / "evidence" / f"{variant}.json").read_text())
            assert evidence["command"].startswith("python -m optimize run ")
            assert evidence["split"]["name"] == "holdout"
            assert len(evidence["sample_ids"]) == evidence["split"]["items"] > 50
            assert evidence["parity"]["output"] == "logits"
            assert evidence["parity"]["agreement"] > 0.9
            paired = evidence["quality"]["paired"]
            assert paired["interval"][0] <= paired["accuracy_drop"] <= paired["interval"][1]
            assert 0 <= paired["mcnemar_p"] <= 1
            assert evidence["arithmetic"]["failed"] == []
            assert ("exact_gap_share" in evidence["arithmetic"]) is (variant == "cpu-int8")
            company = evidence["company"]
            assert company["alone"] is (name == "tiny-text" and variant == "cpu-int8")
            assert (company["flips"], company["failed"]) == (0, [])
            assert company["max_gap"] <= company["tolerance"] == MAX_GAP
            assert evidence["passed"] is True
            stated = artifact.manifest.quality[variant]["holdout_accuracy"]
            assert stated == pytest.approx(evidence["quality"]["answers"]["accuracy"])
    cascade = json.loads((tiny_cascades.artifact(name, "operating-point") / "evidence" / "cascade.json").read_text())
    assert cascade["passed"] is True
    assert 0 <= cascade["escalation_share"] <= 1


def claim(build: Path, name: str, variant: str) -> None:
    """Let the manifest and the operating point state the digest that a changed graph of the expert has."""
    folder = build / f"{name}-expert"
    digest = sha256_of(folder / variant / "model.onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][f"{variant}/model.onnx"] = manifest["variants"][variant]["sha256"] = digest
    write_json(folder / "manifest.json", manifest)
    path = build / f"{name}-operating-point" / "operating-point.json"
    write_json(path, json.loads(path.read_text()) | {"expert_digest": Artifact.open(folder).digest})


def test_a_variant_that_says_something_else_fails_its_gates_and_is_not_published(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    """A graph damaged after the run, with a manifest that claims it: `verify` finds it, and `publish` refuses."""
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-image"], tmp_path / "build"))
    folder = build / "tiny-image-expert"
    path = folder / "cpu-fp32" / "model.onnx"
    graph = onnx.load(path)
    (bias,) = [tensor for tensor in graph.graph.initializer if tensor.name.endswith("linear.bias")]
    shifted = onnx.numpy_helper.to_array(bias) + 9 * np.eye(10, dtype=np.float32)[3]
    bias.CopyFrom(onnx.numpy_helper.from_array(shifted, bias.name))
    onnx.save(graph, path)
    claim(build, "tiny-image", "cpu-fp32")

    recipe = tiny_recipes["tiny-image"]
    done = optimize("publish", recipe, "--build", build, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "the evidence of tiny-image-expert for cpu-fp32 is of something else" in done.stderr
    done = optimize("verify", recipe, "--root", recipe.parent, "--build", build, check=False)
    assert done.returncode == 1
    assert "tiny-image-expert cpu-fp32: a logit differs from PyTorch's by" in done.stderr
    assert "of accuracy on the holdout, at most 1.00% is allowed" in done.stderr
    assert json.loads((folder / "evidence" / "cpu-fp32.json").read_text())["passed"] is False

    done = optimize("publish", recipe, "--build", build, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "says that a gate was not held" in done.stderr
    assert not list((tmp_path / "home").rglob("model.yaml"))


def test_a_graph_that_saturates_on_other_cpus_is_not_published(
    text_build: Build, tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    """On any machine, a CPU with VNNI included: there the graph answers as well as ours."""
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build"))
    path = build / "tiny-text-expert" / "cpu-int8" / "model.onnx"
    quantize_dynamic(result(text_build, "expert/export").path, path, reduce_range=False)
    claim(build, "tiny-text", "cpu-int8")

    recipe = tiny_recipes["tiny-text"]
    done = optimize("verify", recipe, "--root", recipe.parent, "--build", build, check=False)
    assert done.returncode == 1
    said = (
        "tiny-text-expert cpu-int8: gives other answers on a CPU without VNNI: signed weights must lie from -64 to 64"
    )
    assert said in done.stderr
    assert "from -127 to 127); quantize it with reduced range (`reduce_range`) or unsigned weights" in done.stderr
    evidence = json.loads((path.parents[1] / "evidence" / "cpu-int8.json").read_text())
    assert evidence["passed"] is False
    assert evidence["arithmetic"]["failed"]

    done = optimize("publish", recipe, "--build", build, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "says that a gate was not held" in done.stderr
    assert not list((tmp_path / "home").rglob("model.yaml"))


def test_a_variant_whose_answers_depend_on_company_is_not_published(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    """A manifest that lets the items of dynamic INT8 share a batch, as every one did before."""
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build"))
    folder = build / "tiny-text-expert"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["variants"]["cpu-int8"]["alone"] is True
    manifest["variants"]["cpu-int8"]["alone"] = False
    write_json(folder / "manifest.json", manifest)
    claim(build, "tiny-text", "cpu-int8")

    recipe = tiny_recipes["tiny-text"]
    done = optimize("verify", recipe, "--root", recipe.parent, "--build", build, check=False)
    assert done.returncode == 1
    assert "tiny-text-expert cpu-int8: a logit moves by" in done.stderr
    evidence = json.loads((folder / "evidence" / "cpu-int8.json").read_text())
    assert evidence["company"]["failed"]
    assert evidence["passed"] is False


def test_logits_are_held_against_exact_integers_on_every_machine(build: Build) -> None:
    artifact = Artifact.open(build.artifact_folder("screen"))
    certification = build.splits.certification
    logits = served_logits(artifact, "cpu-int8", certification)
    held = arithmetic(artifact, "cpu-int8", certification, logits)
    assert held["failed"] == []
    assert held["exact_items"] == EXACT_ITEMS
    assert 0 <= held["exact_gap_share"] < MAX_EXACT_GAP_SHARE
    away = logits + 2 * MAX_EXACT_GAP_SHARE * logits.std()
    (said,) = arithmetic(artifact, "cpu-int8", certification, away)["failed"]
    assert said.startswith("logits differ from exact integer arithmetic on this CPU")
    assert "exact_items" not in arithmetic(artifact, "cpu-fp32", certification, away)


def test_verify_holds_what_the_run_left(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build"))
    before = (build / "tiny-text-screen" / "evidence" / "cpu-fp32.json").read_text()
    recipe = tiny_recipes["tiny-text"]
    said = optimize("verify", recipe, "--root", recipe.parent, "--build", build).stdout
    assert "every gate is held" in said
    after = json.loads((build / "tiny-text-screen" / "evidence" / "cpu-fp32.json").read_text())
    assert after.pop("command").startswith("python -m optimize verify ")
    assert after == {k: v for k, v in json.loads(before).items() if k != "command"}
