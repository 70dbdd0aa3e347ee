"""Static INT8 of a graph by ONNX Runtime's quantizer: ranges of activations from calibration items, by several methods.

For a BERT, and for a ready graph of images, whose checkpoint in PyTorch neural-compressor would need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, calibrate
from onnxruntime.quantization import quantize_static as quantize_in_onnxruntime
from onnxruntime.quantization.shape_inference import quant_pre_process

from optimize.data.inputs import Preparer
from optimize.errors import StepError
from optimize.models.decisions import head_for, score
from optimize.models.graphs import products_of_activations, quiet, save_graph, work_beside
from optimize.progress import console, progress
from serving.arrays import Array, Logits
from serving.model.head import Decisions
from serving.model.open_session import open_session

Calibration = Literal["min-max", "percentile", "entropy"]
CALIBRATIONS: Mapping[Calibration, tuple[CalibrationMethod, Mapping[str, Any]]] = {
    "min-max": (CalibrationMethod.MinMax, {}),
    # A lower percentile cuts off values that BERTs need: 99.99 made ten times the gap.
    "percentile": (CalibrationMethod.Percentile, {"CalibPercentile": 99.999}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
"""Each method with the options of ONNX Runtime's quantizer that it needs."""


@dataclass(frozen=True, slots=True)
class Form:
    """What of a graph becomes integers, and what is left to a user where that loses too much."""

    operators: tuple[str, ...]
    options: Mapping[str, Any]
    remedy: str


TEXTS = Form(
    ("MatMul",),
    {"DedicatedQDQPair": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
    "take the way `dynamic`",
)
"""Products with constant weights. Their outputs stay in float, and each product quantizes its input for itself, so that
the additions beside it see float values. Against quantizing both, that halved the gap to the float graph (MiniLM-L6:
0.0031 against 0.0066 of the logits' spread) and was no slower."""
IMAGES = Form(
    ("Conv", "Add", "Relu", "MaxPool", "GlobalAveragePool", "Gemm", "MatMul"),
    {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    "leave the step out",
)
"""All of a ResNet but its logits, since ONNX Runtime computes a convolution or an addition in integers only where its
inputs and its output are quantized."""


def quantize_calibrated(
    source: Path,
    output: Path,
    *,
    preparer: Preparer,
    calibration: Sequence[Array],
    selection: Sequence[Array],
    targets: Decisions,
    tolerable_loss: float,
    form: Form = TEXTS,
) -> Path:
    """INT8 weights and activations for an unfused graph `source`, by the calibration that fits best.

    `calibration` and `selection` are prepared items, `targets` the labels of the selection. Of the calibrations that
    lose no more accuracy (of label sets: micro F1) than is tolerable, the one with the smallest mean gap of logits to
    the float graph is kept. Raises StepError when none is left.
    """
    items = [preparer.collate([item]) for item in calibration]
    tried: list[tuple[float, float, str]] = []
    with work_beside(output) as work, quiet(), progress("calibration", total=len(CALIBRATIONS)) as advance:
        plain = pre_processed(source, work / "plain.onnx")
        wanted = _logits(plain, preparer, selection)
        head = head_for(wanted, targets)
        for method in CALIBRATIONS:
            logits = _logits(calibrated(plain, work / f"{method}.onnx", method, items, form), preparer, selection)
            tried.append((float(np.abs(logits - wanted).mean()), score(head.decide(logits), targets), method))
            advance(1)
        in_float = score(head.decide(wanted), targets)
        least = in_float - tolerable_loss
        # Written so that NaN loses.
        held = [candidate for candidate in tried if candidate[0] < np.inf and candidate[1] >= least]
        if not held:
            raise StepError(
                f"quantize: no static calibration stays within {tolerable_loss:.2%} of the accuracy in float "
                f"({in_float:.2%}); allow more with `tolerable_loss`, or {form.remedy}"
            )
        gap, _, best = min(held)
        save_graph(onnx.load(work / f"{best}.onnx"), output)
    console.print(f"calibrated by {best}: {gap / max(float(wanted.std()), 1e-12):.4f} of the logits' spread from float")
    return output


def _logits(path: Path, preparer: Preparer, items: Sequence[Array]) -> Logits:
    session = open_session(path, "CPUExecutionProvider", threads=torch.get_num_threads())
    rows = [preparer.merged(session.run(["logits"], preparer.collate([item]))[0], [item]) for item in items]
    return np.concatenate(rows)


def pre_processed(source: Path, output: Path) -> Path:
    """Write `source` with known shapes and folded constants to `output`, the form that `calibrated` needs."""
    quant_pre_process(source.as_posix(), output.as_posix(), skip_symbolic_shape=True)
    return output


def calibrated(
    source: Path, output: Path, method: Calibration, items: Sequence[Mapping[str, Array]], form: Form = TEXTS
) -> Path:
    """Write the graph `source` in INT8 to `output`: a QDQ graph with uint8 activations and int8 weights.

    `items`: the inputs of one item each; a text without padding, whose values would count. Weights are per channel and
    use half their range (see `optimize.judge.saturation`).
    """
    calibrator, options = CALIBRATIONS[method]
    with _without_prints():
        quantize_in_onnxruntime(
            source,
            output,
            _OneByOne(items),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(form.operators),
            nodes_to_exclude=products_of_activations(onnx.load(source)),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=calibrator,
            extra_options={
                # Takes in one item at a time: the histograms of several texts need equal lengths.
                "CalibStridedMinMax": 1,
                **form.options,
                **options,
            },
        )
    return output


class _OneByOne(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """The items of a range, in the form in which ONNX Runtime's quantizer reads them."""

    def __init__(self, items: Sequence[Mapping[str, Array]]) -> None:
        self._items = items
        self.set_range(0, len(items))

    def __len__(self) -> int:
        return len(self._items)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._items[start_index:end_index])

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._left, None)


@contextmanager
def _without_prints() -> Iterator[None]:
    """Keep ONNX Runtime's calibrators from printing for each item.

    Redirecting stdout would also swallow the progress that another thread prints meanwhile.
    """
    calibrate.print = lambda *_: None
    try:
        yield
    finally:
        del calibrate.print
