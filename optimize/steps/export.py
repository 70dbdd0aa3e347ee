"""Export a checkpoint to an ONNX graph with named dynamic axes, through optimum.

Of a ready graph the export is the graph itself, in the precision that it has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import onnx
from optimum.exporters.onnx import export as export_graph
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.model_configs import ResNetOnnxConfig
from optimum.exporters.onnx.model_patcher import PatchingSpec
from optimum.exporters.tasks import TasksManager
from pydantic import Field
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.deberta_v2 import modeling_deberta_v2

from optimize.models.cifar_resnet import convolve_shortcuts
from optimize.models.families import family_of, graph_inputs
from optimize.models.graph_model import graph_in
from optimize.models.graphs import quiet, save_graph, use_shared_weights
from optimize.results import Precision
from optimize.steps.step import Step, StepContext

# Our own ResNets have the inputs and outputs of transformers': pixel_values and logits.
for _own in ("cifar-resnet", "torchvision-resnet"):
    TasksManager.create_register("onnx", overwrite_existing=True)(_own, "image-classification")(ResNetOnnxConfig)


class Export(Step):
    """`opset`: version of the ONNX operator set."""

    step: Literal["export"] = "export"

    place: ClassVar[int] = 3

    opset: int = Field(default=18, ge=14, le=23)

    @property
    def graph_precision(self) -> Precision:
        return "fp32"

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        ready = graph_in(source)
        if ready is not None:
            save_graph(onnx.load(ready), output)
            return
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
        inputs = _with_inputs(make_config(model.config), model.config)
        export_graph(convolve_shortcuts(model), inputs, beside, opset=config.opset, device="cpu")
    graph = onnx.load(beside)
    family = family_of(model.config)
    if family is not None and family.shared_layers:
        use_shared_weights(graph)
    save_graph(graph, output)
    beside.unlink()
    return output


def _with_inputs(inputs: OnnxConfig, config: PretrainedConfig) -> OnnxConfig:
    """optimum's description of the graph's inputs, without token types where the model knows only one."""
    if family_of(config) is None:
        return inputs
    changed: dict[str, Any] = {
        "inputs": {name: axes for name, axes in inputs.inputs.items() if name in graph_inputs(config)}
    }
    if config.model_type == "deberta-v2":
        # Its own function asks whether there are as many keys as queries, in an If that the quantizer cannot read.
        same = PatchingSpec(modeling_deberta_v2, "build_rpos", custom_op=lambda _query, _key, positions, *_: positions)
        changed["PATCHING_SPECS"] = [same]
    inputs.__class__ = type(inputs.__class__.__name__, (inputs.__class__,), changed)
    return inputs
