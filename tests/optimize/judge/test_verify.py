"""Evidence of what was published, read from the artifacts as they are served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from optimize.build import Build
from optimize.data.splits import Split
from optimize.errors import StepError
from optimize.judge.gates import logits_of
from optimize.judge.verify import _parity, quality_evidence, served_logits
from optimize.pipeline import evaluate
from optimize.recipe import Gates, QualityGate, read_recipe
from serving.model.artifact import Artifact, sha256_of, write_json
from tests.conftest import TinyCascades, optimize

LABELS = ("a", "b")


def split(targets: Any) -> Split:
    return Split("holdout", list(range(len(targets))), np.asarray(targets), tuple("x" * len(targets)), frozenset())


def test_served_logits_are_those_that_were_measured(build: Build) -> None:
    for role in ("screen", "expert"):
        artifact = Artifact.open(build.artifact_folder(role))
        for variant in artifact.manifest.variants:
            (graph,) = [
                g for g in build.graphs(role) if sha256_of(g.path) == artifact.manifest.variants[variant].sha256
            ]
            got = served_logits(artifact, variant, build.splits.certification)
            np.testing.assert_allclose(got, logits_of(build, graph, build.prepared("certification")), atol=1e-4)


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


@pytest.mark.parametrize(
    ("wrong", "gate", "failed"),
    [
        (0, {}, []),
        (3, {"max_accuracy_drop": 0.03, "max_macro_f1_drop": 0.04, "max_recall_drop": 0.06}, []),
        (3, {"max_accuracy_drop": 0.02}, ["loses 3.00% of accuracy on the holdout, at most 2.00% is allowed"]),
        (3, {"max_accuracy_drop": None, "max_macro_f1_drop": 0.01}, ["loses 3.00% of macro F1"]),
        (3, {"max_accuracy_drop": None, "max_recall_drop": 0.01}, ["loses 6.00% of recall of a"]),
        (3, {"max_accuracy_drop": None, "max_recall_drop": 0.01, "min_recall_items": 51}, []),
    ],
)
def test_each_gate_says_what_was_lost_and_what_is_allowed(wrong: int, gate: Any, failed: list[str]) -> None:
    targets = np.repeat([0, 1], 50)
    answers = targets.copy()
    answers[:wrong] = 1
    free = {"max_macro_f1_drop": None, "max_recall_drop": None} | gate
    got = quality_evidence(answers, targets, split(targets), LABELS, QualityGate(**free), seed=1)
    assert len(got["failed"]) == len(failed)
    assert all(said.startswith(expected) for said, expected in zip(got["failed"], failed, strict=True))


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


def test_what_is_no_number_fails() -> None:
    nothing = np.full((4, 2), np.nan, dtype=np.float32)
    for precision in ("fp32", "int8"):
        assert _parity(nothing, np.zeros((4, 2), dtype=np.float32), precision, Gates())["failed"]


def test_an_operating_point_is_not_chosen_on_other_data_than_the_models_were_made_with(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build"))
    shutil.copytree(tiny_recipes["tiny-text"].parent, tmp_path / "root")
    with (tmp_path / "root" / "messages.csv").open("a") as file:
        file.write("one more message about a card that was declined,card-declined\n")
    for verb in ("operating-point", "verify"):
        done = optimize(verb, tiny_recipes["tiny-text"], "--root", tmp_path / "root", "--build", build, check=False)
        assert done.returncode == 1
        assert "was made with another data than is there now" in done.stderr


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


def test_the_operating_point_can_be_chosen_anew(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build"))
    recipe = tiny_recipes["tiny-text"]
    common = (recipe, "--root", recipe.parent, "--build", build)
    said = optimize("operating-point", *common, "--alpha", "0.001").stdout
    assert "not certified: n is too small, 2995 are needed" in said.replace("\n", " ")
    done = optimize("publish", *common, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "tiny-text-operating-point for cascade is not there; make it with `python -m optimize verify" in done.stderr
    optimize("verify", *common)
    said = optimize("publish", *common, home=tmp_path / "home").stdout
    assert said.count("published tiny-text-") == 3
    done = optimize("operating-point", *common, "--alpha", "2", check=False)
    assert done.returncode == 1
    assert "alpha: Input should be less than 1, got 2.0 (float)" in done.stderr


def test_nothing_but_the_evidence_looks_at_the_holdout(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipes["tiny-image"]
    searched = tmp_path / "searched.toml"
    searched.write_text(recipe.read_text() + '[search]\nmax_accuracy_drop = 1.0\nspace = {"distill.epochs" = [2]}\n')
    folder = shutil.copytree(tiny_cascades.builds["tiny-image"], tmp_path / "build")
    build = Build(read_recipe(str(searched)), root=recipe.parent, folder=folder)
    events: list[str] = []

    class Watched(list[Any]):
        def __getitem__(self, place: Any) -> Any:
            events.append("looked")
            return super().__getitem__(place)

        def __iter__(self) -> Any:
            events.append("looked")
            return super().__iter__()

    object.__setattr__(build.splits.holdout, "inputs", Watched(build.splits.holdout.inputs))
    read = Build.read_holdout

    def opened(self: Build) -> Any:
        events.append("opened")
        return read(self)

    monkeypatch.setattr(Build, "read_holdout", opened)
    evaluate(build, "a test")
    assert events[0] == "opened"
    assert events.count("opened") == 1
    assert "looked" in events


def test_the_holdout_is_read_once_a_run(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    build = Build(read_recipe(str(tiny_recipes["tiny-image"])), root=tmp_path, folder=tmp_path / "build")
    assert len(build.read_holdout()) > 0
    for again in (build.read_holdout, build.with_screen(build.recipe.screen).read_holdout):
        with pytest.raises(StepError, match="read once a run"):
            again()
    with pytest.raises(StepError, match="for the reported figures alone"):
        build.prepared("holdout")
