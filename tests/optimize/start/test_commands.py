"""`new` writes recipes that `run` takes unedited, for every family and every format; two of them are run here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from optimize.build import Build
from optimize.errors import CheckpointError, RecipeError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.pipeline import evaluate
from optimize.recipe import Recipe, read_recipe
from optimize.start.commands import name_from, new
from optimize.start.source import source_of
from tests.encoders import ENCODERS, LABELS, saved_encoder
from tests.optimize.models.onnx_files import text_folder
from tests.optimize.models.resnets import SHAPES, resnet_state
from tests.optimize.models.test_image_checkpoint import timm_folder
from tests.optimize.start.brought import FORMATS, IMAGE_FORMATS, images, texts, write_csv
from tests.optimize.start.ready import image_graph, text_graph
from tests.tiny import make_bert
from tests.tiny_recipes import messages


def written(data: Path, checkpoint: Path, folder: Path, student: str | None = None) -> tuple[Recipe, Build]:
    """The recipe that `new` writes, after a build has taken in its data and its checkpoint."""
    path = new(source_of(data), str(checkpoint), name="mine", out=folder / "mine.toml", student=student)
    recipe = read_recipe(str(path))
    build = Build(recipe, root=Path(), folder=folder / "build")
    build.taken_in()
    return recipe, build


def resnet(folder: Path, channels: int = 3) -> Path:
    """A state dict of a CIFAR ResNet for three labels, with random weights."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"depths": (2, 1, 1), "widths": (8, 8, 16), "num_channels": channels, "num_labels": 3}
    torch.save(CifarResNet(CifarResNetConfig(**shape)).state_dict(), folder / "resnet.pth")
    return folder / "resnet.pth"


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_family(kind: str, tmp_path: Path) -> None:
    recipe, build = written(texts("csv", tmp_path), saved_encoder(kind, tmp_path / "model"), tmp_path)
    assert build.splits.labels == ("a", "b", "c")
    assert recipe.teacher, "random weights are near chance"
    assert 32 <= recipe.text.max_tokens <= 40


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "csv"])
def test_every_format_of_texts(kind: str, tmp_path: Path) -> None:
    several = {"problem_type": "multi_label_classification"} if kind in ("several", "columns") else {}
    recipe, build = written(texts(kind, tmp_path), saved_encoder("bert", tmp_path / "model", **several), tmp_path)
    assert set(build.splits.labels) == {"a", "b", "c"}
    assert (recipe.data.labels == "teacher") == (kind == "lines")


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_every_format_of_images(kind: str, tmp_path: Path) -> None:
    recipe, build = written(images(kind, tmp_path), resnet(tmp_path), tmp_path)
    assert recipe.image is not None
    assert (recipe.image.width, recipe.image.height) == (16, 16)
    assert len(build.splits.labels) == 3


@pytest.mark.parametrize("kind", ["resnet18", "resnext", "one channel"])
def test_every_kind_of_state_dict(kind: str, tmp_path: Path) -> None:
    torch.save(resnet_state(**SHAPES[kind]), tmp_path / "mine.pth")
    recipe, build = written(images("folder", tmp_path), tmp_path / "mine.pth", tmp_path)
    assert (recipe.image is None) == (kind != "one channel"), "torchvision published settings for three channels"
    assert build.image is not None
    assert len(build.image.mean) == (1 if kind == "one channel" else 3)


def test_a_folder_of_timm(tmp_path: Path) -> None:
    recipe, build = written(images("folder", tmp_path), timm_folder(tmp_path / "model"), tmp_path)
    assert recipe.image is None
    assert build.image is not None
    assert (build.image.width, build.image.height) == (96, 96)


def test_a_ready_graph(tmp_path: Path) -> None:
    data, graph = text_graph(tmp_path)
    recipe, _ = written(data, graph, tmp_path)
    assert recipe.checkpoint.source == "onnx"
    assert not recipe.teacher
    assert [step.step for step in recipe.screen] == ["export", "quantize"]
    saved_encoder("roberta", tmp_path / "small", num_labels=2)
    own = tmp_path / "own"
    own.mkdir()
    recipe, build = written(data, graph / "model.onnx", own, student=str(tmp_path / "small"))
    assert [step.step for step in recipe.screen] == ["distill", "prune", "export", "quantize"]
    assert build.student_of(recipe.screen[0]) is not None


def test_a_ready_graph_for_images(tmp_path: Path) -> None:
    data, graph = image_graph(tmp_path)
    recipe, build = written(data, graph, tmp_path)
    assert recipe.image is None
    assert [step.step for step in (*recipe.expert, *recipe.screen)] == 2 * ["export", "quantize"]
    assert build.splits.labels == LABELS


def test_a_ready_graph_that_knows_nothing_of_the_labels_is_refused(tmp_path: Path) -> None:
    graph = text_folder(tmp_path / "graph")
    with pytest.raises(CheckpointError, match="answers near chance on these labels, and nothing in an ONNX file can"):
        written(texts("csv", tmp_path), graph, tmp_path)


def test_a_student_of_another_family(tmp_path: Path) -> None:
    saved_encoder("bert", tmp_path / "model")
    saved_encoder("roberta", tmp_path / "small", num_labels=2)
    recipe, build = written(texts("csv", tmp_path), tmp_path / "model", tmp_path, student=str(tmp_path / "small"))
    (distill, *_) = recipe.screen
    assert distill.is_unrelated
    assert build.student_of(distill) is not None
    assert recipe.teacher, "random weights are near chance"


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("graph", CheckpointError, "is an ONNX file, and nothing in it can be trained"),
        ("resnet.pth", RecipeError, "no recipe fits what was brought: .*state-dict is for images; name a text encoder"),
        ("nowhere", CheckpointError, "could not be had from the hub"),
    ],
)
def test_a_student_that_cannot_be_one_is_refused(name: str, error: type[Exception], says: str, tmp_path: Path) -> None:
    saved_encoder("bert", tmp_path / "model")
    text_folder(tmp_path / "graph")
    resnet(tmp_path)
    path = name if name == "nowhere" else str(tmp_path / name)
    with pytest.raises(error, match=says):
        written(texts("csv", tmp_path), tmp_path / "model", tmp_path, student=path)
    assert not (tmp_path / "mine.toml").exists()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    with pytest.raises(RecipeError, match=r"mine.toml is there already and is not overwritten; choose another --name"):
        new(source_of(texts("csv", tmp_path)), "nowhere", name=None, out=path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "name"),
    [("messages_2024.tsv.gz", "messages-2024"), ("Meine Daten.csv", "meine-daten"), ("数据.csv", "cascade")],
)
def test_a_name_from_a_files_name(file: str, name: str) -> None:
    assert name_from(file) == name


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies are those of a few rounds: nothing here depends on them."""
    monkeypatch.setattr("optimize.pipeline.ROUNDS", 3)


@pytest.mark.slow  # two trainings, two quantizations and their measurements
@pytest.mark.usefixtures("few_rounds")
def test_a_recipe_for_texts_runs_unedited(tmp_path: Path) -> None:
    make_bert(tmp_path / "model")
    lines = messages(480, seed=3)
    data = write_csv(tmp_path / "messages.csv", ("body", "matter"), lines)
    _, build = written(data, tmp_path / "model", tmp_path)
    report = evaluate(build, "a test")
    assert report["models"]["cascade"]["accuracy"] > 2 / 6


@pytest.mark.slow  # two static quantizations, each of which exports the model twice
@pytest.mark.usefixtures("few_rounds")
def test_a_recipe_for_images_runs_unedited(tmp_path: Path) -> None:
    _, build = written(images("folder", tmp_path, 180), resnet(tmp_path), tmp_path)
    report = evaluate(build, "a test")
    assert report["models"]["cascade"]["accuracy"] > 0.5


@pytest.mark.slow  # a static quantization and its measurements
@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize("make", [text_graph, image_graph], ids=["texts", "images"])
def test_a_recipe_for_a_ready_graph_runs_unedited(make: Callable[[Path], tuple[Path, Path]], tmp_path: Path) -> None:
    _, build = written(*make(tmp_path), tmp_path)
    report = evaluate(build, "a test")
    assert report["models"]["expert"]["accuracy"] > 0.9, "the rows have the graph's answers"
