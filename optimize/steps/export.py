"""Export: a checkpoint to an ONNX graph with named dynamic axes, through optimum."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import onnx
from optimum.exporters.onnx import onnx_export_from_model
from optimum.exporters.onnx.model_configs import ResNetOnnxConfig
from optimum.exporters.tasks import TasksManager
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel

from optimize.graphs import quiet, save_graph

# What optimum writes for transformers' ResNet holds for the CIFAR ResNet: pixel_values in, logits out.
TasksManager.create_register("onnx", overwrite_existing=True)("cifar_resnet", "image-classification")(ResNetOnnxConfig)


class ExportConfig(BaseModel):
    """`opset`: version of the ONNX operator set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["export"] = "export"
    opset: int = Field(default=18, ge=14, le=23)


def export(model: PreTrainedModel, config: ExportConfig, output: Path) -> Path:
    """Write `model` to the file `output` (.onnx): `logits` float32 [batch, labels] out."""
    text = "ForSequenceClassification" in type(model).__name__
    task = "text-classification" if text else "image-classification"
    beside = output.with_name(f"{output.stem}.exporting")
    shutil.rmtree(beside, ignore_errors=True)
    with quiet():
        onnx_export_from_model(model, beside, opset=config.opset, task=task, do_validation=False)
    graph = onnx.load(beside / "model.onnx")
    save_graph(graph, output)
    shutil.rmtree(beside)
    return output
