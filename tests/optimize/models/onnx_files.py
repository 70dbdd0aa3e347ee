"""Tiny ONNX files as people bring them: exports with their tokeniser or image settings, and changes to their graphs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.graph_model import GraphModel
from optimize.models.heads import HeadRules, label_maps
from optimize.models.onnx_checkpoint import OnnxFiles, TextInputs, take_in_graph
from optimize.steps.export import Export, export
from serving.model.artifact import ImageSettings
from tests.encoders import LABELS, POSITIONS, saved_encoder, tiny_batch, tiny_encoder

TEXTS = TextInputs(max_tokens=POSITIONS, pairs=False)
IMAGES = ImageSettings(width=16, height=16, mean=(0.5,) * 3, std=(0.25,) * 3)
ORDER = ("c", "a", "b")
CONFIG = {"model_type": "resnet", **label_maps(LABELS)}
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 16, "width": 16},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "resample": 2,
}


def text_folder(folder: Path, kind: str = "bert") -> Path:
    """A folder as optimum writes it: model.onnx, config.json and the tokeniser."""
    shutil.copytree(_text_folder(kind), folder)
    return folder


@cache
def _text_folder(kind: str) -> Path:
    folder = saved_encoder(kind, Path(mkdtemp()) / kind)
    (folder / "model.safetensors").unlink()
    export(tiny_encoder(kind), Export(), folder / "model.onnx")
    return folder


def image_folder(folder: Path) -> Path:
    """A folder with the graph of a tiny ResNet, config.json and preprocessor_config.json."""
    folder.mkdir()
    export(tiny_resnet(), Export(), folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


@cache
def tiny_resnet() -> Any:
    """The model behind `image_folder`."""
    torch.manual_seed(0)
    return CifarResNet(CifarResNetConfig(depths=(1, 1), widths=(8, 8), image_size=16, **label_maps(LABELS))).eval()


def changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """Change the graph in a file in place, and return the file."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def renamed(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give an input or output another name."""
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def with_end(operator: str, **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    """Let an operator follow the logits."""

    def change(model: onnx.ModelProto) -> None:
        renamed(model, "logits", "before")
        model.graph.node.append(helper.make_node(operator, ["before"], ["answer"], **attributes))
        model.graph.output[0].name = "answer"

    return change


def sized(model: onnx.ModelProto, place: int, size: int) -> None:
    """Say that an axis of every input has one size; for the batch, also of the output."""
    for value in (*model.graph.input, *(model.graph.output if place == 0 else ())):
        value.type.tensor_type.shape.dim[place].dim_value = size


def take(path: Path, labels: tuple[str, ...] = LABELS, **others: Any) -> GraphModel:
    return take_in_graph(OnnxFiles(path, None), "text", labels, HeadRules(**others), TEXTS)


def take_image(path: Path, settings: ImageSettings = IMAGES) -> GraphModel:
    return take_in_graph(OnnxFiles(path, None), "image", LABELS, HeadRules(), settings)


def refusal(path: Path, **others: Any) -> str:
    with pytest.raises(CheckpointError) as refused:
        take(path, **others)
    return str(refused.value)


def gap(graph: Any, kind: str = "bert") -> float:
    """How far the graph's logits lie from the tiny encoder's, in the order of the graph's labels."""
    batch = tiny_batch(kind)
    batch["token_type_ids"] = np.zeros_like(batch["input_ids"])
    inputs = {name: torch.from_numpy(batch[name]) for name in graph.inputs}
    places = [LABELS.index(label) for label in graph.config.id2label.values()]
    with torch.no_grad():
        return float((graph(**inputs).logits - tiny_encoder(kind)(**inputs).logits[:, places]).abs().max())
