"""Quantize to INT8. BERT: dynamic, per channel, through optimum. ResNet: static, through neural-compressor.

Weights are signed and use half their range. CPUs without VNNI add two products of a uint8 activation and an int8 weight
in 16 bits, which saturate with the whole range: the same graph then gives other answers on another CPU
(`optimize.judge.saturation` checks every graph). Unsigned weights never saturate, but a CPU with VNNI takes about twice
as long for them (`make int8` measures both).

Static quantization is tuned for accuracy: neural-compressor tries its configurations in order until one loses no more
than `tolerable_loss`. What it exports leaves residual additions in float (`optimize.models.qdq` closes the gap).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from optimize.data.inputs import collect, ordered_batches
from optimize.errors import StepError
from optimize.models.cifar_resnet import convolve_shortcuts
from optimize.models.graphs import quiet, save_graph
from optimize.models.qdq import complete_residuals, fold_weights
from optimize.results import Precision
from optimize.steps.step import Step, StepContext

STATIC_WEIGHTS = (-63, 63)
"""The static quantizer's range of weights: symmetric, or the largest would be clipped.

ONNX Runtime's own reduced range, the dynamic quantizer's, is -64 to 64.
"""


class Quantize(Step):
    """`tolerable_loss`: accuracy (share, absolute) that the static quantizer's tuning may lose on the selection set."""

    step: Literal["quantize"] = "quantize"

    place: ClassVar[int] = 4
    is_variant: ClassVar[bool] = True
    revision: ClassVar[int] = 3  # 2: weights in half their range; 3: graphs without paths of the machine

    tolerable_loss: float = Field(default=0.005, ge=0, lt=1)

    @property
    def graph_precision(self) -> Precision:
        return "int8"

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        if context.task == "text":
            quantize_dynamic(source, output)
            return
        calibration, selection = context.prepare("calibration"), context.prepare("selection")
        batches = [np.stack(calibration.take(indices)) for indices in ordered_batches(calibration, 32)]

        @torch.no_grad()
        def accuracy(run: Callable[[torch.Tensor], torch.Tensor]) -> float:
            logits = collect(
                selection, 64, lambda indices: run(torch.from_numpy(np.stack(selection.take(indices)))).numpy()
            )
            return float((logits.argmax(axis=1) == selection.targets).mean())

        quantize_static(context.load(context.checkpoint), self, output, calibration=batches, accuracy=accuracy)


def quantize_dynamic(source: Path, output: Path, *, reduce_range: bool = True) -> Path:
    """INT8 weights, activations quantized as they come: for BERT, from the *unfused* export `source`.

    Without `reduce_range` the weights have their whole range, for comparison only: such a graph may not be published.

    Products of two activations (queries with keys, shares with values) stay in float: quantizing both sides anew for
    each call cost more than it gave (MiniLM-L6, one thread: 6.1 against 6.7 ms at 96 tokens, 2.2 against 2.3 at 32).
    """
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    graph = onnx.load(source).graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] not in weights]
    work = output.with_name(f"{output.stem}.quantizing")
    shutil.rmtree(work, ignore_errors=True)
    try:
        with quiet():
            signed = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True, nodes_to_exclude=products)
            config = dataclasses.replace(signed, reduce_range=reduce_range)
            ORTQuantizer(source, config=None).quantize(save_dir=work, quantization_config=config)
        (quantized,) = work.glob("*.onnx")
        save_graph(onnx.load(quantized), output)
    finally:
        shutil.rmtree(work, ignore_errors=True)
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
