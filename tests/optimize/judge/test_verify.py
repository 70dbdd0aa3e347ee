"""Evidence of what was published, read from the artifacts as they are served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from serving.model.artifact import Artifact, sha256_of, write_json
from tests.conftest import TinyCascades, optimize


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
            assert evidence["passed"] is True
            stated = artifact.manifest.quality[variant]["holdout_accuracy"]
            assert stated == pytest.approx(evidence["quality"]["answers"]["accuracy"])
    cascade = json.loads((tiny_cascades.artifact(name, "operating-point") / "evidence" / "cascade.json").read_text())
    assert cascade["passed"] is True
    assert 0 <= cascade["escalation_share"] <= 1


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
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["cpu-fp32/model.onnx"] = manifest["variants"]["cpu-fp32"]["sha256"] = sha256_of(path)
    write_json(folder / "manifest.json", manifest)
    point = json.loads((build / "tiny-image-operating-point" / "operating-point.json").read_text())
    point["expert_digest"] = Artifact.open(folder).digest
    write_json(build / "tiny-image-operating-point" / "operating-point.json", point)

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
