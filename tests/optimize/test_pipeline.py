"""A whole run: repeatable, resumable, and nothing half written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from optimize.build import Build
from optimize.errors import GateError
from optimize.pipeline import evaluate
from optimize.recipe import read_recipe
from serving.model.artifact import read_manifest
from tests.conftest import TinyCascades, optimize
from tests.optimize.knowing import KNOWING_CASCADE, knowing_bert


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
    optimize("evaluate", recipe, "--root", recipe.parent, "--build", tmp_path, fresh=True)
    assert manifests(tmp_path, name) == manifests(tiny_cascades.builds[name], name)


def test_a_failed_gate_publishes_nothing(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = tiny_recipes["tiny-image"].read_text()
    recipe.write_text(text.replace("[gates]", "[gates]\nmax_logit_gap = 1e-12"))
    done = optimize("run", recipe, "--build", tmp_path / "build", home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "nothing is published" in done.stderr
    assert not list((tmp_path / "home").rglob("model.yaml"))
    assert not list((tmp_path / "build").glob("tiny-image-*"))


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


UNLABELLED = f"""
name = "unlabelled"
data = {{ source = "files", train = "log.txt", labels = "teacher", calibration_size = 8 }}
quality.screen = {{ max_accuracy_drop = 0.0 }}
{KNOWING_CASCADE}"""


def test_without_labels_agreement_is_said_wherever_accuracy_would_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = knowing_bert(tmp_path / "bert", rows=160)
    (tmp_path / "log.txt").write_text("\n".join(text for text, _ in rows))
    (tmp_path / "unlabelled.toml").write_text(UNLABELLED)
    build = Build(read_recipe(str(tmp_path / "unlabelled.toml")), root=tmp_path, folder=tmp_path / "build")
    with pytest.raises(GateError, match=r"% of agreement with the teacher on the holdout, at most 0\.00% is allowed"):
        evaluate(build, "a test")
    for path in ("summary.json", "report.json", "report.html", *map(str, build.folder.rglob("evidence/*.json"))):
        said = (build.folder / path).read_text().lower()
        assert "accuracy" not in re.sub("max_accuracy_drop", "", said), path
        assert "agreement" in said
    printed = capsys.readouterr().out
    assert printed.count("agreement with the teacher") == 2
    assert "accuracy" not in printed
    assert "none how often it is right" in (build.folder / "report.html").read_text()
    manifest = read_manifest(build.artifact_folder("expert"))
    assert manifest.quality == {"cpu-fp32": {"holdout_agreement_with_teacher": 1.0}}
    assert (manifest.provenance["data"]["labels_from"], manifest.data_is) == ("teacher", "unlabelled")
