"""Tiny ONNX files as people bring them: exports with their tokeniser or image settings, and changes to their graphs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import onnx
import torch
from onnx import helper

from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import label_maps
from optimize.steps.export import Export, export
from tests.encoders import LABELS, saved_encoder, tiny_encoder

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
