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
from optimize.judge.measure import logits_of
from optimize.models.saved import load_model
from optimize.pipeline import evaluate
from optimize.recipe import read_recipe
from optimize.steps.export import Export, export
from serving.model.artifact import Artifact, VariantName
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.optimize.knowing import EASY_GATES, LABELS, knowing_bert, write_rows
from tests.optimize.models.onnx_files import image_folder

HEAD = """
name = "ready"
task = "text"
checkpoint = { source = "onnx", path = "graph" }
data = { source = "files", train = "rows.csv", calibration_size = 8 }
text = { max_tokens = 48 }
"""
EXPERT = 'expert = [{ step = "export" }]\n'
TRAINED = "epochs = 1, learning_rate = 1e-3"
OWN = 'student = { source = "folder", path = "bert" }'
STUDENT = f'{{ step = "distill", {OWN}, layers = [0, 3], {TRAINED}, control = false }}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ready graph and its tokeniser, the checkpoint behind it, and rows with its answers."""
    root = tmp_path_factory.mktemp("root")
    write_rows(root / "rows.csv", knowing_bert(root / "bert", rows=150))
    shutil.copytree(root / "bert", root / "graph")
    (root / "graph" / "model.safetensors").unlink()
    export(load_model(root / "bert", "text"), Export(), root / "graph" / "model.onnx")
    return root


def build_of(root: Path, folder: Path, lines: str) -> Build:
    path = folder / "recipe.toml"
    gates = EASY_GATES.replace("[gates]", "[gates]\nmin_speedup = 0.0\nmax_accuracy_drop = 1.0")
    path.write_text(HEAD + lines + gates)
    return Build(read_recipe(str(path)), root=root, folder=folder / "build")


def served(artifact: Artifact, variant: VariantName, texts: list[str]) -> Any:
    """Logits as a service computes them."""
    preprocess = preprocessor(artifact)
    runner = Runner(Session(artifact, variant), preprocess)
    return np.concatenate([runner.run([preprocess.item(text)[0]]) for text in texts])


def test_the_graph_is_the_expert_and_a_student_follows_it(root: Path, tmp_path: Path) -> None:
    expert = 'expert = [{ step = "export" }, { step = "quantize", ways = ["dynamic"] }]\n'
    lines = f'{expert}screen = [{STUDENT}, {{ step = "export" }}]\n'
    build = build_of(root, tmp_path, lines)
    report = evaluate(build, "a test")
    assert [(row["name"], row["runtime"]) for row in report["steps"]] == [
        ("teacher/checkpoint", "ONNX Runtime"),
        ("expert/export", "ONNX Runtime"),
        ("expert/quantize", "ONNX Runtime"),
        ("screen/distill", "PyTorch"),
        ("screen/export", "ONNX Runtime"),
    ]
    texts, behind = list(build.splits.selection.inputs[:3]), load_model(root / "bert", "text")
    items = build.prepared("selection").take(range(3))
    wanted = np.concatenate([behind(**build.preparer.tensors([item])).logits.detach() for item in items])
    artifact = Artifact.open(build.artifact_folder("expert"))
    np.testing.assert_allclose(served(artifact, "cpu-fp32", texts), wanted, atol=1e-4)
    assert np.abs(served(artifact, "cpu-int8", texts) - wanted).mean() < wanted.std()
    evidence = json.loads((artifact.folder / "evidence" / "cpu-fp32.json").read_text())
    assert evidence["parity"]["max_gap"] < 1e-6, "the reference is the graph itself"
    assert build_of(root, tmp_path, lines).teacher == build.teacher


@pytest.mark.parametrize(
    ("screen", "message"),
    [
        (
            f'{{ step = "distill", layers = [0], {TRAINED} }}',
            "distill: a student cannot start from the layers of a ready ONNX graph",
        ),
        (
            f'{{ step = "prune", heads_share = 0.5, {TRAINED} }}',
            "prune: a ready ONNX graph has no weights that could be trained",
        ),
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
        (
            f'{EXPERT}screen = [{{ step = "export" }}]\nteacher = [{{ step = "fine-tune", {TRAINED} }}]\n',
            "nothing in an ONNX file",
        ),
        (
            f'{EXPERT}screen = [{STUDENT[:-2]}, hidden_weight = 0.1 }}, {{ step = "export" }}]\n',
            "hidden_weight must be 0",
        ),
        (
            f'{EXPERT}screen = [{STUDENT}, {{ step = "prune", heads_share = 0.5, {TRAINED}, hidden_weight = 0.1 }}, '
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
    student = f'{{ step = "distill", student = {{ source = "onnx", path = "graph" }}, {TRAINED} }}'
    build = build_of(root, tmp_path, f'{EXPERT}screen = [{student}, {{ step = "export" }}]\n')
    with pytest.raises(Exception, match="is an ONNX file, and nothing in it can be trained"):
        build.taken_in()


def test_the_graph_gives_the_rows_their_labels(root: Path, tmp_path: Path) -> None:
    lines = f'{EXPERT}screen = [{{ step = "export" }}]\n'
    labelled = build_of(root, tmp_path, lines)
    path = tmp_path / "unlabelled.toml"
    text = (tmp_path / "recipe.toml").read_text()
    path.write_text(text.replace("calibration_size = 8", 'calibration_size = 8, labels = "teacher"'))
    build = Build(read_recipe(str(path)), root=root, folder=tmp_path / "unlabelled")
    assert build.splits.labels == LABELS
    of_id = dict(zip(labelled.splits.train.inputs, labelled.splits.train.targets, strict=True))
    known = [(text, target) for text, target in zip(*rows_of(build), strict=True) if text in of_id]
    assert len(known) > 50
    assert all(of_id[text] == target for text, target in known)


def rows_of(build: Build) -> tuple[list[str], list[int]]:
    return list(build.splits.train.inputs), build.splits.train.targets.tolist()


def test_an_image_graph_brings_its_settings(tmp_path: Path) -> None:
    image_folder(tmp_path / "graph")
    rng, count = np.random.default_rng(0), 120
    images = rng.integers(0, 256, size=(count, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "rows.npz", train_x=images, train_y=np.array(["a", "b", "c"] * (count // 3)))
    (tmp_path / "recipe.toml").write_text(
        'name = "ready"\ntask = "image"\ncheckpoint = { source = "onnx", path = "graph" }\n'
        'data = { source = "npz", path = "rows.npz", calibration_size = 8 }\n'
        f'{EXPERT}screen = [{{ step = "export" }}]\n'
    )
    build = Build(read_recipe(str(tmp_path / "recipe.toml")), root=tmp_path, folder=tmp_path / "build")
    assert build.image is not None
    assert (build.image.width, build.image.mean, build.image.std) == (16, (0.5,) * 3, (0.25,) * 3)
    build.carry_out()
    teacher, expert = (logits_of(build, result, build.prepared("selection")) for result in build.results[:2])
    np.testing.assert_array_equal(expert, teacher)
