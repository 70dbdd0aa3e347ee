"""INT8 graphs must give the same answers on every CPU: no product may saturate.

An x86 CPU without VNNI multiplies uint8 activations by int8 weights with VPMADDUBSW, which adds two neighbouring
products and clamps the sum to 16 bits (Intel's Software Developer's Manual, volume 2, PMADDUBSW). Signed weights from
-64 to 64 always fit: 2 x 255 x 64 = 32,640, and an int16 ends at 32,767. ONNX Runtime multiplies unsigned weights with
VPMADDWD, which never saturates. It moves int8 activations to uint8 first, so the same bound holds for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

MAX_SIGNED = np.iinfo(np.int16).max // (2 * np.iinfo(np.uint8).max)
"""The largest absolute value of a signed weight: 64."""

_INTEGER_FACTORS = {
    "MatMulInteger": (1,),
    "ConvInteger": (1,),
    "QLinearMatMul": (3,),
    "QLinearConv": (3,),
    "QGemm": (3,),
    "MatMulIntegerToFloat": (1,),
    "DynamicQuantizeMatMul": (1,),
    "QAttention": (1,),
    "DynamicQuantizeLSTM": (1, 2),
}
"""Operators that multiply integers, and which of their inputs are second factors: weights, in practice."""

# Operators that ONNX Runtime computes in integers where both inputs come from DequantizeLinear.
_FUSED_FACTORS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_KEEPS_VALUES = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class SignedFactor:
    """A product's second factor in int8: its name, its lowest and highest value, and the product's operator and name.

    A factor that is computed at run time may take any value from -128 to 127.
    """

    operator: str
    product: str
    factor: str
    low: int
    high: int

    @property
    def saturates(self) -> bool:
        return self.low < -MAX_SIGNED or self.high > MAX_SIGNED


def signed_factors(model: onnx.ModelProto) -> list[SignedFactor]:
    """The int8 second factors of all integer products of `model`, in the graph's order; unsigned ones are left out."""
    return _Factors(onnx.shape_inference.infer_shapes(model).graph).signed()


def saturation(model: onnx.ModelProto) -> str | None:
    """What is wrong with `model` if it saturates without VNNI: rule, value and remedy. None if it does not."""
    found = signed_factors(model)
    wrong = [factor for factor in found if factor.saturates]
    if not wrong:
        return None
    worst = max(wrong, key=lambda factor: max(-factor.low, factor.high))
    return (
        f"gives other answers on a CPU without VNNI: signed weights must lie from -{MAX_SIGNED} to {MAX_SIGNED}, so "
        f"that two products with uint8 fit into 16 bits, and those of {len(wrong)} of its products do not "
        f"({worst.operator} {worst.product!r}: {worst.factor!r} from {worst.low} to {worst.high}); "
        "quantize it with reduced range (`reduce_range`) or unsigned weights"
    )


class _Factors:
    """Looks up what flows into a graph's products."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = graph.node
        self._producers = {name: node for node in graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        described = (*graph.value_info, *graph.input)
        self._types = {value.name: value.type.tensor_type.elem_type for value in described}

    def signed(self) -> list[SignedFactor]:
        found = []
        for node in self._nodes:
            for name in self._integer_factors(node):
                values = self._signed_range(name)
                if values is not None:
                    found.append(SignedFactor(node.op_type, node.name or node.output[0], name, *values))
        return found

    def _integer_factors(self, node: onnx.NodeProto) -> list[str]:
        if node.op_type in _INTEGER_FACTORS:
            return [node.input[place] for place in _INTEGER_FACTORS[node.op_type]]
        if node.op_type in _FUSED_FACTORS:
            quantized = [self._before_dequantizing(name) for name in node.input[:2]]
            return [name for name in quantized[1:] if None not in quantized and name is not None]
        return []

    def _before_dequantizing(self, name: str) -> str | None:
        producer = self._behind(name)
        return producer.input[0] if producer is not None and producer.op_type == "DequantizeLinear" else None

    def _behind(self, name: str) -> onnx.NodeProto | None:
        """The node that a value comes from, through operators that only move values."""
        producer = self._producers.get(name)
        while producer is not None and producer.op_type in _KEEPS_VALUES:
            producer = self._producers.get(producer.input[0])
        return producer

    def _signed_range(self, name: str) -> tuple[int, int] | None:
        """Lowest and highest value of an int8 tensor; None for other types."""
        while name in self._producers and self._producers[name].op_type in _KEEPS_VALUES:
            name = self._producers[name].input[0]
        if name in self._constants:
            values: NDArray[np.generic] = numpy_helper.to_array(self._constants[name])
            return (int(values.min()), int(values.max())) if values.dtype == np.int8 and values.size else None
        return (-128, 127) if self._types.get(name) == TensorProto.INT8 else None
