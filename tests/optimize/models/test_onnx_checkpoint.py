"""Ready ONNX files as checkpoints: the data's labels in their order, whatever the file says."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from optimize.errors import CheckpointError
from optimize.models.heads import HeadRules
from optimize.models.onnx_checkpoint import OnnxFiles, take_in_graph
from optimize.models.saved import load_model, save_model
from serving.model.artifact import ImageSettings
from tests.encoders import LABELS
from tests.optimize.models.onnx_files import (
    ORDER,
    TEXTS,
    changed,
    gap,
    image_folder,
    refusal,
    renamed,
    sized,
    take,
    take_image,
    text_folder,
    tiny_resnet,
    with_end,
)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_a_folder_of_optimum_with_labels_in_another_order(kind: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", kind)
    graph = take(folder, ORDER)
    assert tuple(graph.config.id2label.values()) == ORDER
    assert gap(graph, kind) < 1e-5
    saved = save_model(graph, tmp_path / "saved", folder)
    assert {path.name for path in saved.iterdir()} >= {"config.json", "model.onnx", "tokenizer.json"}
    assert gap(load_model(saved, "text"), kind) < 1e-5
    onnx.checker.check_model(saved / "model.onnx", full_check=True)


def test_a_tokeniser_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    path = (tmp_path / "graphs").mkdir() or (folder / "model.onnx").rename(tmp_path / "graphs" / "mine.onnx")
    assert gap(take_in_graph(OnnxFiles(path, folder), "text", ORDER, HeadRules(), TEXTS)) < 1e-5
    assert f"{path.parent} has no tokeniser" in refusal(path)


def test_without_names_the_labels_are_the_datas(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    (folder / "config.json").unlink()
    graph = take(folder, ("x", "y", "z"))
    assert tuple(graph.config.id2label.values()) == ("x", "y", "z")
    assert OnnxFiles(folder, None).labels is None


def test_other_labels_are_refused_as_those_of_any_checkpoint(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    assert "answers with the labels a, b, c, and the data has x, y, z" in refusal(folder, labels=("x", "y", "z"))
    assert take(folder, ("x", "y", "z"), trust_order=True).config.id2label == {0: "x", 1: "y", 2: "z"}
    message = refusal(folder, labels=("a", "b"))
    assert "has an output for 3 labels, its config.json names 3, and the data has 2 (a, b)" in message


def test_logits_are_taken_before_a_softmax(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", with_end("Softmax", axis=-1))
    assert gap(take(folder, ORDER)) < 1e-5
    assert "ends in Softmax; its logits are taken before it" in " ".join(capsys.readouterr().out.split())
    assert "another problem; leave problem out" in refusal(folder, multi_label=True)


def test_label_sets_come_with_a_sigmoid_alone(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", with_end("Sigmoid"))
    assert 'set problem = "multi-label" in [data]' in refusal(folder)
    graph = take(folder, multi_label=True)
    assert gap(graph) < 1e-5
    assert graph.config.problem_type == "multi_label_classification"
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"problem_type": "single_label_classification"}))
    assert "gives an item exactly one label" in refusal(folder, multi_label=True)


def test_an_image_graph_with_its_settings(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "model")
    changed(folder / "model.onnx", lambda model: renamed(model, "pixel_values", "input.1"))
    graph = take_image(folder)
    pixels = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(graph(pixel_values=pixels).logits, tiny_resnet()(pixel_values=pixels).logits)
    assert graph.inputs == ("pixel_values",)
    assert load_model(save_model(graph, tmp_path / "saved"), "image").config.id2label == dict(enumerate(LABELS))
    grey = ImageSettings(width=16, height=16, mode="L", mean=(0.5,), std=(0.25,))
    with pytest.raises(CheckpointError, match=r"does not take images of the shape \[1, 16, 16\]; set \[image\]"):
        take_image(folder, grey)
    changed(folder / "model.onnx", lambda model: sized(model, 1, 3))
    with pytest.raises(CheckpointError, match="takes images of 3 channels, and those of mode L have 1"):
        take_image(folder, grey)
    changed(folder / "model.onnx", lambda model: sized(model, 2, 32))
    with pytest.raises(CheckpointError, match="images with a height of 32 pixels, and they would have 16; set height"):
        take_image(folder)
    changed(folder / "model.onnx", lambda model: sized(model, 1, 16))
    with pytest.raises(CheckpointError, match="takes images of 16 channels, and 1 or 3 must stand in the second"):
        take_image(folder)


def half(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("half", TensorProto.FLOAT16, [1], [1.0]))


def test_half_precision_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", half)
    assert "has weights of 16 bits, which are for a GPU" in refusal(folder)
