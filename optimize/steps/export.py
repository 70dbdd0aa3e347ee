"""Export a checkpoint to an ONNX graph with named dynamic axes, through optimum."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import onnx
from optimum.exporters.onnx import export as export_graph
from optimum.exporters.onnx.model_configs import ResNetOnnxConfig
from optimum.exporters.tasks import TasksManager
from pydantic import Field
from transformers import PreTrainedModel

from optimize.models.cifar_resnet import convolve_shortcuts
from optimize.models.graphs import quiet, save_graph
from optimize.results import Precision
from optimize.steps.step import Step, StepContext

# The CIFAR ResNet has the inputs and outputs of transformers' ResNet: pixel_values and logits.
TasksManager.create_register("onnx", overwrite_existing=True)("cifar-resnet", "image-classification")(ResNetOnnxConfig)


class Export(Step):
    """`opset`: version of the ONNX operator set."""

    step: Literal["export"] = "export"

    place: ClassVar[int] = 3

    opset: int = Field(default=18, ge=14, le=23)

    @property
    def graph_precision(self) -> Precision:
        return "fp32"

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        export(context.load(source), self, output)


def export(model: PreTrainedModel, config: Export, output: Path) -> Path:
    """Write `model` to the ONNX file `output`, whose output `logits` is float32 [batch, labels]."""
    text = "ForSequenceClassification" in type(model).__name__
    task = "text-classification" if text else "image-classification"
    make_config = TasksManager.get_exporter_config_constructor(
        exporter="onnx",
        task=task,
        model_type=model.config.model_type.replace("_", "-"),
        library_name="transformers",
    )
    beside = output.with_suffix(".exporting")
    with quiet():
        export_graph(convolve_shortcuts(model), make_config(model.config), beside, opset=config.opset, device="cpu")
    save_graph(onnx.load(beside), output)
    beside.unlink()
    return output
