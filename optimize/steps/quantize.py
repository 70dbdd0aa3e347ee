"""Quantize to INT8. BERT: dynamic through optimum, and static through ONNX Runtime. ResNet: through neural-compressor.

A ResNet that was brought as a ready ONNX graph has no checkpoint in PyTorch, and goes through ONNX Runtime too.

A dynamic graph takes the ranges of its activations from the batch, so its items run one at a time
(`optimize.judge.company`). A static graph has them from the calibration set and runs its items together. Which one is
faster depends on the CPU and on the batches, so for an expert both are made, and the measured one is published.

Weights are signed and use half their range. CPUs without VNNI add two products of a uint8 activation and an int8 weight
in 16 bits, which saturate with the whole range: the same graph then gives other answers on another CPU
(`optimize.judge.saturation` checks every graph). Unsigned weights never saturate, but a CPU with VNNI takes about twice
as long for them (`make int8` measures both).

Static quantization is tuned for accuracy, within `tolerable_loss`. Of ONNX Runtime's calibrations, the one with the
smallest gap to the float graph is kept. For a ResNet, neural-compressor tries its configurations in order until one
holds. What it exports leaves residual additions in float (`optimize.models.qdq` closes the gap).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import collect, ordered_batches
from optimize.errors import StepError
from optimize.models.calibration import IMAGES, TEXTS, quantize_calibrated
from optimize.models.cifar_resnet import convolve_shortcuts
from optimize.models.decisions import head_for, score
from optimize.models.graph_model import GraphModel, graph_in
from optimize.models.graphs import products_of_activations, quiet, save_graph, work_beside
from optimize.models.qdq import complete_residuals, fold_weights
from optimize.models.saved import Task
from optimize.models.training import predict
from optimize.results import Precision, Stage
from optimize.steps.step import Step, StepContext
from serving.model.head import SOFTMAX

Way = Literal["dynamic", "static"]
SELECTED_ITEMS = 200
"""At most so many items of the selection set choose a calibration of ONNX Runtime's quantizer."""
ONE_WAY = "quantize: `ways` are those of a text encoder, and a ResNet has one way; leave `ways` out"
STATIC_WEIGHTS = (-63, 63)
"""The static quantizer's range of weights: symmetric, or the largest would be clipped.

ONNX Runtime's own reduced range, the dynamic quantizer's, is -64 to 64.
"""


class Quantize(Step):
    """`tolerable_loss`: accuracy (share, absolute) that static quantization may lose on the selection set.

    Of label sets it is micro F1.
    """

    step: Literal["quantize"] = "quantize"

    place: ClassVar[int] = 4
    is_variant: ClassVar[bool] = True
    revision: ClassVar[int] = 3  # 2: weights in half their range; 3: graphs without paths of the machine

    tolerable_loss: float = Field(default=0.005, ge=0, lt=1)
    # Left out of the recipe's digest where nothing is chosen.
    ways: tuple[Way, ...] | None = Field(default=None, min_length=1, exclude_if=lambda ways: ways is None)
    """The ways to try on a BERT; the faster graph is published. By default both for the expert, and dynamic for the
    screen, which runs its items one at a time anyway."""

    @property
    def way(self) -> Way:
        """The way of this step; a companion tries the other one."""
        return "static" if self.ways and "dynamic" not in self.ways else "dynamic"

    @property
    def name(self) -> str:
        return self.step if self.way == "dynamic" else f"{self.step}-{self.way}"

    @property
    def graph_precision(self) -> Precision:
        return "int8"

    def companions(self, stage: Stage, task: Task) -> tuple[Step, ...]:
        both = {"dynamic", "static"} <= set(self.ways) if self.ways else stage == "expert"
        return (self.model_copy(update={"ways": ("static",)}),) if both and task == "text" else ()

    def without_companions(self) -> Quantize:
        return self.model_copy(update={"ways": (self.way,)})

    def require_fitting(self, model: PretrainedConfig) -> None:
        if self.ways is not None and hasattr(model, "depths"):
            raise StepError(ONE_WAY)

    def require_graph(self, graph: GraphModel) -> None:
        if graph.precision != "fp32":
            raise StepError(f"quantize: the ready ONNX graph is in {graph.precision} already; leave the step out")
        if self.ways is not None and "pixel_values" in graph.inputs:
            raise StepError(ONE_WAY)

    def key_fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"ways"})  # the name tells the way

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        if context.task == "image" and graph_in(context.checkpoint) is None:
            self._carry_out_in_pytorch(output, context)
        elif context.task == "text" and self.way == "dynamic":
            quantize_dynamic(source, output)
        else:
            calibration, selection = context.prepare("calibration"), context.prepare("selection")
            quantize_calibrated(
                source,
                output,
                preparer=context.preparer,
                calibration=calibration.items,
                selection=selection.take(range(min(len(selection), SELECTED_ITEMS))),
                targets=selection.targets[:SELECTED_ITEMS],
                tolerable_loss=self.tolerable_loss,
                form=IMAGES if context.task == "image" else TEXTS,
            )

    def _carry_out_in_pytorch(self, output: Path, context: StepContext) -> None:
        calibration, selection = context.prepare("calibration"), context.prepare("selection")
        batches = [np.stack(calibration.take(indices)) for indices in ordered_batches(calibration, 32)]

        targets = selection.targets
        model = context.load(context.checkpoint)
        head = SOFTMAX if targets.ndim == 1 else head_for(predict(model, selection, context.preparer), targets)

        @torch.no_grad()
        def accuracy(run: Callable[[torch.Tensor], torch.Tensor]) -> float:
            logits = collect(
                selection, 64, lambda indices: run(torch.from_numpy(np.stack(selection.take(indices)))).numpy()
            )
            return score(head.decide(logits), targets)

        quantize_static(model, self, output, calibration=batches, accuracy=accuracy)


def quantize_dynamic(source: Path, output: Path, *, reduce_range: bool = True) -> Path:
    """INT8 weights, activations quantized as they come: for BERT, from the *unfused* export `source`.

    Without `reduce_range` the weights have their whole range, for comparison only: such a graph may not be published.

    Products of two activations (queries with keys, shares with values) stay in float: quantizing both sides anew for
    each call cost more than it gave (MiniLM-L6, one thread: 6.1 against 6.7 ms at 96 tokens, 2.2 against 2.3 at 32).
    """
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    products = products_of_activations(onnx.load(source))
    with work_beside(output) as work, quiet():
        signed = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True, nodes_to_exclude=products)
        config = dataclasses.replace(signed, reduce_range=reduce_range)
        ORTQuantizer(source, config=None).quantize(save_dir=work, quantization_config=config)
        (quantized,) = work.glob("*.onnx")
        save_graph(onnx.load(quantized), output)
    return output


def quantize_static(
    model: PreTrainedModel,
    config: Quantize,
    output: Path,
    *,
    calibration: Sequence[NDArray[np.float32]],
    accuracy: Callable[[Callable[[torch.Tensor], torch.Tensor]], float],
    reduce_range: bool = True,
) -> Path:
    """INT8 weights and activations (uint8, asymmetric: VNNI's fast pair) for a ResNet.

    `calibration`: batches float32 [batch, channels, height, width], for the ranges only. `accuracy` takes a function
    from such a batch to logits and returns the share of right answers on the selection set. Without `reduce_range` the
    weights have their whole range, for comparison only: such a graph may not be published.
    Raises StepError when no configuration stays within the tolerable loss.
    """
    convolved = convolve_shortcuts(model).eval().requires_grad_(False)
    example = (torch.from_numpy(calibration[0][:2].copy()),)
    dynamic = {"pixel_values": {0: torch.export.Dim("batch_size")}}
    with quiet(), torch.no_grad():
        weights = STATIC_WEIGHTS if reduce_range else None
        tuned = _tune(_LogitsOnly(convolved), config, example, dynamic, calibration, accuracy, weights)
        exported = torch.onnx.export(
            tuned,
            example,
            dynamo=True,
            opset_version=18,
            dynamic_shapes=dynamic,
            input_names=["pixel_values"],
            output_names=["logits"],
            verbose=False,
        )
    assert exported is not None
    graph = complete_residuals(fold_weights(exported.model_proto), calibration)
    save_graph(graph, output)
    return output


class _LogitsOnly(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits  # type: ignore[no-any-return]  # transformers' models return Any


def _tune(
    model: nn.Module,
    config: Quantize,
    example: tuple[torch.Tensor],
    dynamic: dict[str, Any],
    calibration: Sequence[NDArray[np.float32]],
    accuracy: Callable[[Callable[[torch.Tensor], torch.Tensor]], float],
    weights: tuple[int, int] | None,
) -> nn.Module:
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import INT8StaticQuantConfig, TuningConfig, autotune

    def calibrate(prepared: nn.Module) -> None:
        if weights is not None:
            _narrow(prepared, *weights)
        for batch in calibration:
            prepared(torch.from_numpy(batch))

    # The tolerable loss of neural-compressor is relative to the float model's accuracy, ours is absolute.
    float_accuracy = accuracy(model)
    candidates = [
        INT8StaticQuantConfig(act_sym=False, act_algo="minmax"),
        INT8StaticQuantConfig(act_sym=False, act_algo="kl"),
    ]
    scores: list[float] = []

    def score(run: nn.Module) -> float:
        # The tuner asks for the float model's accuracy first, which is known.
        scores.append(accuracy(run) if scores else float_accuracy)
        return scores[-1]

    tuned = autotune(
        export(model, example, dynamic_shapes=dynamic),
        tune_config=TuningConfig(candidates, tolerable_loss=config.tolerable_loss / max(float_accuracy, 1e-9)),
        eval_fn=score,
        run_fn=calibrate,
    )
    # When none holds, the tuner gives back the best of them all the same.
    if max(scores[1:]) < float_accuracy - config.tolerable_loss:
        raise StepError(
            f"quantize: no INT8 configuration stays within {config.tolerable_loss:.2%} of the accuracy in float "
            f"({float_accuracy:.2%}); allow more with `tolerable_loss`, or leave the step out"
        )
    return tuned  # type: ignore[no-any-return]  # neural-compressor has no types


def _narrow(prepared: nn.Module, low: int, high: int) -> None:
    """Let the weights' observers use `low` to `high`, for which neural-compressor has no setting.

    Its tuner then scores the weights that are exported.
    """
    observers: list[Any] = [module for module in prepared.modules() if getattr(module, "dtype", None) == torch.int8]
    for observer in observers:
        observer.quant_min, observer.quant_max = low, high
