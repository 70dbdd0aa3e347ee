"""A recipe whose checkpoint is a ready ONNX file: refused before a training, or built, certified and served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.build import Build
from optimize.errors import RecipeError, StepError
from optimize.models.saved import load_model
from optimize.pipeline import evaluate
from optimize.recipe import read_recipe
from optimize.steps.export import Export, export
from serving.model.artifact import Artifact
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.optimize.knowing import EASY_GATES, knowing_bert, write_rows

HEAD = """
name = "ready"
task = "text"
checkpoint = { source = "onnx", path = "graph" }
data = { source = "files", train = "rows.csv", calibration_size = 8 }
text = { max_tokens = 48 }
"""
EXPERT = 'expert = [{ step = "export" }]\n'
STUDENT = '{ step = "distill", student = { source = "folder", path = "bert" }, layers = [0, 3], epochs = 1 }'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ready graph and its tokeniser, the checkpoint behind it, and rows with its answers."""
    root = tmp_path_factory.mktemp("root")
    write_rows(root / "rows.csv", knowing_bert(root / "bert"))
    shutil.copytree(root / "bert", root / "graph")
    (root / "graph" / "model.safetensors").unlink()
    export(load_model(root / "bert", "text"), Export(), root / "graph" / "model.onnx")
    return root


def build_of(root: Path, folder: Path, lines: str) -> Build:
    path = folder / "recipe.toml"
    path.write_text(HEAD + lines + EASY_GATES)
    return Build(read_recipe(str(path)), root=root, folder=folder / "build")


def served(folder: Path, texts: list[str]) -> Any:
    """Logits of the variant that a service on the CPU takes."""
    artifact = Artifact.open(folder)
    preprocess = preprocessor(artifact)
    runner = Runner(Session(artifact, artifact.manifest.default_cpu), preprocess)
    return np.concatenate([runner.run([preprocess.item(text)[0]]) for text in texts])


def test_the_graph_is_the_expert_and_its_int8_the_screen(root: Path, tmp_path: Path) -> None:
    screen = 'screen = [{ step = "export" }, { step = "quantize" }]\n'
    expert = 'expert = [{ step = "export" }, { step = "fuse" }, { step = "quantize", ways = ["static"] }]\n'
    build = build_of(root, tmp_path, expert + screen)
    report = evaluate(build, "a test")
    rows = {row["name"]: row for row in report["results"]}
    assert rows["teacher/checkpoint"]["runtime"] == "ONNX Runtime"
    assert set(rows) == {
        *("teacher/checkpoint", "expert/export", "expert/fuse-fp32", "expert/quantize-static"),
        *("screen/export", "screen/quantize"),
    }
    teacher = load_model(build.teacher.path, "text")
    texts = list(build.splits.selection.inputs[:5])
    prepared = [build.preparer.prepare(build.splits.selection).items[place] for place in range(5)]
    wanted = np.concatenate([teacher(**build.preparer.tensors([item])).logits.numpy() for item in prepared])
    assert np.abs(served(build.artifact_folder("expert"), texts) - wanted).max() < 1.0
    evidence = json.loads((build.artifact_folder("expert") / "evidence" / "cpu-fp32.json").read_text())
    assert evidence["parity"]["max_gap"] < 1e-4
    again = build_of(root, tmp_path, expert + screen)
    assert again.teacher == build.teacher


def test_a_student_follows_the_graphs_outputs(root: Path, tmp_path: Path) -> None:
    build = build_of(root, tmp_path, f'{EXPERT}screen = [{STUDENT}, {{ step = "export" }}]\n')
    evaluate(build, "a test")
    names = [result.name for result in build.results]
    assert names == ["teacher/checkpoint", "expert/export", "screen/control", "screen/distill", "screen/export"]
    runtimes = {result.name: result.runtime for result in build.results}
    assert runtimes["screen/distill"] == "PyTorch"
    assert runtimes["teacher/checkpoint"] == "ONNX Runtime"


@pytest.mark.parametrize(
    ("screen", "message"),
    [
        ('{ step = "distill", layers = [0] }', "distill: a student cannot start from the layers of a ready ONNX graph"),
        ('{ step = "prune", heads_share = 0.5 }', "prune: a ready ONNX graph has no weights that could be trained"),
    ],
)
def test_a_step_that_needs_weights_is_refused_before_a_training(
    screen: str, message: str, root: Path, tmp_path: Path
) -> None:
    build = build_of(root, tmp_path, f'{EXPERT}screen = [{screen}, {{ step = "export" }}]\n')
    with pytest.raises(StepError, match=message):
        build.taken_in()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (f'{EXPERT}screen = [{{ step = "export" }}]\nteacher = [{{ step = "fine-tune" }}]\n', "nothing in an ONNX file"),
        (
            f'{EXPERT}screen = [{STUDENT[:-2]}, hidden_weight = 0.1 }}, {{ step = "export" }}]\n',
            "hidden_weight must be 0",
        ),
        (
            f'{EXPERT}screen = [{STUDENT}, {{ step = "prune", heads_share = 0.5, hidden_weight = 0.1 }}, '
            '{ step = "export" }]\n',
            "hidden_weight compares hidden states with the teacher's, and an ONNX file gives none; leave it out",
        ),
    ],
)
def test_what_needs_weights_or_hidden_states_is_refused_when_the_recipe_is_read(
    lines: str, message: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        build_of(root, tmp_path, lines)


def test_a_graph_cannot_be_a_student(root: Path, tmp_path: Path) -> None:
    student = '{ step = "distill", student = { source = "onnx", path = "graph" } }'
    build = build_of(root, tmp_path, f'{EXPERT}screen = [{student}, {{ step = "export" }}]\n')
    with pytest.raises(Exception, match="is an ONNX file, and nothing in it can be trained"):
        build.taken_in()
