"""Export: a checkpoint to an ONNX graph with named dynamic axes, through optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
from optimum.exporters.onnx import export as export_graph
from optimum.exporters.onnx.model_configs import ResNetOnnxConfig
from optimum.exporters.tasks import TasksManager
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel

from optimize.models.cifar_resnet import convolve_shortcuts
from optimize.models.graphs import quiet, save_graph

# What optimum writes for transformers' ResNet holds for the CIFAR ResNet: pixel_values in, logits out.
TasksManager.create_register("onnx", overwrite_existing=True)("cifar-resnet", "image-classification")(ResNetOnnxConfig)


class ExportConfig(BaseModel):
    """`opset`: version of the ONNX operator set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["export"] = "export"
    opset: int = Field(default=18, ge=14, le=23)


def export(model: PreTrainedModel, config: ExportConfig, output: Path) -> Path:
    """Write `model` to the file `output` (.onnx): `logits` float32 [batch, labels] out."""
    text = "ForSequenceClassification" in type(model).__name__
    task = "text-classification" if text else "image-classification"
    make_config = TasksManager.get_exporter_config_constructor(
        exporter="onnx",
        task=task,
        model_type=model.config.model_type.replace("_", "-"),
        library_name="transformers",
    )
    model = convolve_shortcuts(model)
    beside = output.with_suffix(".exporting")
    with quiet():
        export_graph(model, make_config(model.config), beside, opset=config.opset, device="cpu")
    save_graph(onnx.load(beside), output)
    beside.unlink()
    return output
