"""Fuse attention, layer norm and GELU into single operators, and convert to fp16 or bf16 for the GPU.

A text encoder goes through optimum's optimizer, which knows no ResNet. A ResNet goes through the function of ONNX
Runtime that optimum calls, and becomes fp16 through onnxconverter-common: ONNX Runtime's own converter breaks the order
of nodes. bf16 is made of either in `optimize.models.bfloat16`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar, Literal

import onnx
from onnxconverter_common import float16
from onnxruntime.transformers.optimizer import optimize_model
from optimum.onnxruntime import ORTOptimizer
from optimum.onnxruntime.configuration import OptimizationConfig
from transformers import BertConfig, PretrainedConfig

from optimize.errors import StepError
from optimize.models.bfloat16 import in_bfloat16
from optimize.models.families import family_of
from optimize.models.graph_model import GraphModel
from optimize.models.graphs import quiet, save_graph
from optimize.results import Precision
from optimize.steps.step import Step, StepContext


class Fuse(Step):
    """`precision`: fp32 competes with the plain export on the CPU, fp16 is the variant for a GPU.

    bf16 is the one for models whose values fp16 cannot hold; it is also made where that shows (`remedy`).
    """

    step: Literal["fuse"] = "fuse"

    place: ClassVar[int] = 4
    is_variant: ClassVar[bool] = True

    precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    @property
    def name(self) -> str:
        return f"fuse-{self.precision}"

    @property
    def graph_precision(self) -> Precision:
        return self.precision

    @property
    def remedy(self) -> Step | None:
        return self.model_copy(update={"precision": "bf16"}) if self.precision == "fp16" else None

    def require_graph(self, graph: GraphModel) -> None:
        if graph.precision != "fp32":
            raise StepError(
                f"fuse: the ready ONNX graph is in {graph.precision}, and fp32 is fused; leave the step out"
            )
        if "input_ids" in graph.inputs and family_of(graph.config) is None:
            raise StepError(
                "fuse: the width and heads of a text encoder are read from its config.json, and that of the ready ONNX "
                "graph names no model_type that is known; put the model's own config.json beside the file, or leave "
                "the step out"
            )

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        fuse(source, context.load(context.checkpoint).config, self, output)


def fuse(source: Path, model_config: PretrainedConfig, config: Fuse, output: Path) -> Path:
    """Write a fused copy of the graph `source` to the file `output`; inputs and outputs keep their types."""
    with quiet():
        if family_of(model_config) is not None:
            graph = _fuse_encoder(source, model_config, config)
        else:
            graph = optimize_model(source.as_posix(), model_type="vit", opt_level=1, only_onnxruntime=True).model
            if config.precision == "fp16":
                graph = float16.convert_float_to_float16(graph, keep_io_types=True)
        if config.precision == "bf16":
            graph = in_bfloat16(graph)
    save_graph(graph, output)
    return output


def _fuse_encoder(source: Path, model_config: PretrainedConfig, config: Fuse) -> onnx.ModelProto:
    work = source.with_name(f"{source.stem}.fusing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        shutil.copy(source, work / "model.onnx")
        # optimum fuses every encoder as a BERT, and asks for no more than this; it refuses MobileBERT's name.
        width, heads = model_config.hidden_size, model_config.num_attention_heads
        described = BertConfig(hidden_size=width, num_attention_heads=heads)  # type: ignore[no-untyped-call]  # transformers has no types for it
        described.save_pretrained(work)
        optimizer = ORTOptimizer.from_pretrained(work)
        wanted = OptimizationConfig(optimization_level=1, fp16=config.precision == "fp16")
        optimizer.optimize(wanted, save_dir=work, file_suffix="fused")
        return onnx.load(work / "model_fused.onnx")
    finally:
        shutil.rmtree(work)
