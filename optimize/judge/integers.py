"""An INT8 graph's logits by exact integer arithmetic, and as a CPU without VNNI saturates them.

onnx's reference evaluator computes both in numpy, on any machine. For the second, the operators that multiply integers
are replaced by ones that clamp the sum of two neighbouring products to 16 bits, as VPMADDUBSW does in ONNX Runtime's
kernels for AVX2 (mlas/lib/amd64/QgemmU8S8KernelAvx2.asm).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from serving.arrays import Array, Logits

EVALUATOR_OPSET = 21
"""The evaluator's DequantizeLinear reads the axis of its scales from this operator set on; older ones fail there."""


def exact_logits(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> Logits:
    """Logits float32 [items, labels] of `model` for one batch, with integer products that cannot overflow."""
    explicit = multiply_in_integers(_for_evaluator(model))
    return _evaluated(ReferenceEvaluator(explicit, new_ops=[GatherElements]), inputs)


def saturated_logits(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> Logits:
    """Logits float32 [items, labels] of `model` for one batch, as an x86 CPU without VNNI computes them."""
    explicit = multiply_in_integers(_for_evaluator(model))
    return _evaluated(ReferenceEvaluator(explicit, new_ops=[GatherElements, MatMulInteger, ConvInteger]), inputs)


def saturating_product(left: Array, right: Array) -> NDArray[np.int64]:
    """uint8 [rows, inner] times int8 [inner, columns]; each sum of two neighbouring products is clamped to int16.

    Returns int64 [rows, columns]. Only the sums of two are clamped: they are added up in 32 bits.
    """
    if left.dtype != np.uint8 or right.dtype != np.int8:
        raise ValueError(f"needs uint8 and int8, got {left.dtype} and {right.dtype}")
    limits = np.iinfo(np.int16)
    # An odd last one is alone.
    odd = left.shape[1] % 2
    columns = np.pad(left, ((0, 0), (0, odd))).T.astype(np.int32)
    rows = np.pad(right, ((0, odd), (0, 0))).astype(np.int32)
    total = np.zeros((left.shape[0], right.shape[1]), dtype=np.int32)
    for first in range(0, len(rows), 2):
        pair = np.multiply.outer(columns[first], rows[first])
        pair += np.multiply.outer(columns[first + 1], rows[first + 1])
        total += np.clip(pair, limits.min, limits.max, out=pair)
    return total.astype(np.int64)


class GatherElements(OpRun):
    """The operator of that name. onnx's own miscounts a negative axis, which DeBERTa's graphs have."""

    op_domain = ""

    def _run(self, data: Array, indices: Array, axis: int | None = None) -> tuple[Array]:
        return (np.take_along_axis(data, indices, axis or 0),)


class MatMulInteger(OpRun):
    """The operator of that name; with an int8 second factor it saturates."""

    op_domain = ""

    def _run(
        self, a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None
    ) -> tuple[NDArray[np.int32]]:
        left, zero_point = _unsigned(a, a_zero_point)
        rows = left.reshape(-1, left.shape[-1])
        product = _product(rows, zero_point, b, np.int64(0) if b_zero_point is None else b_zero_point.astype(np.int64))
        return (product.reshape(*a.shape[:-1], b.shape[-1]).astype(np.int32),)


class ConvInteger(OpRun):
    """The operator of that name, in two dimensions; with int8 weights it saturates.

    Neighbouring products are those of neighbouring channels, as ONNX Runtime lays pixels out.
    """

    op_domain = ""

    def _run(
        self,
        x: Array,
        w: Array,
        x_zero_point: Array | None = None,
        w_zero_point: Array | None = None,
        *,
        auto_pad: str | None = None,
        dilations: list[int] | None = None,
        group: int | None = None,
        kernel_shape: list[int] | None = None,
        pads: list[int] | None = None,
        strides: list[int] | None = None,
    ) -> tuple[NDArray[np.int32]]:
        pixels, zero_point = _unsigned(x, x_zero_point)
        down, across = strides or (1, 1)
        apart = dilations or (1, 1)
        reach = [(size - 1) * step + 1 for size, step in zip(w.shape[2:], apart, strict=True)]
        top, left, bottom, right = pads or (0, 0, 0, 0)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            (top, bottom), (left, right) = (
                _same(size, stride, taken, upper=auto_pad == "SAME_UPPER")
                for size, stride, taken in zip(x.shape[2:], (down, across), reach, strict=True)
            )
        pixels = np.pad(pixels, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero_point)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, reach, axis=(2, 3))
        windows = windows[:, :, ::down, ::across, :: apart[0], :: apart[1]]
        zero_points = np.zeros(len(w), np.int64) if w_zero_point is None else w_zero_point.astype(np.int64)
        zero_points = np.broadcast_to(zero_points, len(w))
        parts = [
            _convolved(taken, zero_point, weights, zeros)
            for taken, weights, zeros in zip(
                np.split(windows, group or 1, axis=1),
                np.split(w, group or 1),
                np.split(zero_points, group or 1),
                strict=True,
            )
        ]
        # A later sum adds in the order of the layout, which should be that of onnx's operator.
        return (np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.int32),)


def _same(size: int, stride: int, reach: int, *, upper: bool) -> tuple[int, int]:
    """The padding with which a convolution gives one value for each `stride`; an odd one has one more at one end."""
    whole = max((-(-size // stride) - 1) * stride + reach - size, 0)
    small, large = whole // 2, whole - whole // 2
    return (small, large) if upper else (large, small)


def _convolved(windows: Array, zero_point: int, weights: Array, zero_points: NDArray[np.int64]) -> NDArray[np.int64]:
    """One group: [items, channels, height, width, kernel height, kernel width] -> [items, outputs, height, width]."""
    windows = windows.transpose(0, 2, 3, 4, 5, 1)
    rows = windows.reshape(-1, int(np.prod(weights.shape[1:])))
    columns = weights.transpose(2, 3, 1, 0).reshape(rows.shape[1], len(weights))
    product = _product(rows, zero_point, columns, zero_points)
    items, height, width = windows.shape[:3]
    return product.reshape(items, height, width, len(weights)).transpose(0, 3, 1, 2)


def multiply_in_integers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make products of two dequantized inputs ConvInteger or MatMulInteger, as ONNX Runtime does it."""
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        sources = [producers.get(name) for name in node.input[:2]]
        quantized = [source for source in sources if source is not None and source.op_type == "DequantizeLinear"]
        if node.op_type in ("Conv", "Gemm", "MatMul") and len(quantized) == 2:
            bias = _constant(node.input[2], values, producers) if len(node.input) > 2 else None
            nodes.extend(_explicit(graph, node, quantized[0], quantized[1], values, bias))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _constant(name: str, values: Mapping[str, Array], producers: Mapping[str, onnx.NodeProto]) -> Array:
    """A constant; in the graphs of ONNX Runtime's quantizer a bias is one in int32 with a scale."""
    if name in values:
        return values[name]
    quantized, scale, *_ = (values[of] for of in producers[name].input)
    return (quantized * scale).astype(np.float32)


def _explicit(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    activations: onnx.NodeProto,
    weights: onnx.NodeProto,
    values: Mapping[str, Array],
    bias: Array | None,
) -> list[onnx.NodeProto]:
    """Multiply integers, scale the product, add the bias where there is one."""
    name, shape = node.output[0], (1, -1, 1, 1) if node.op_type == "Conv" else (1, -1)
    scale = (values[activations.input[1]] * values[weights.input[1]]).reshape(shape)
    added = {
        f"{name}_product_scale": scale,
        f"{name}_bias": np.zeros_like(scale) if bias is None else bias.reshape(shape),
    }
    factor = weights.input[0]
    if node.op_type == "Gemm" and any(field.name == "transB" and field.i for field in node.attribute):
        factor = f"{name}_weights"
        added[factor] = values[weights.input[0]].T  # the exporter writes weights as [outputs, inputs]
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in added.items())
    product = helper.make_node(
        "ConvInteger" if node.op_type == "Conv" else "MatMulInteger",
        [activations.input[0], factor, activations.input[2], weights.input[2]],
        [f"{name}_product"],
    )
    if node.op_type == "Conv":
        product.attribute.extend(node.attribute)
    return [
        product,
        helper.make_node("Cast", [f"{name}_product"], [f"{name}_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_float", f"{name}_product_scale"], [f"{name}_scaled"]),
        helper.make_node("Add", [f"{name}_scaled", f"{name}_bias"], [name]),
    ]


def _product(left: Array, left_zero: int, right: Array, right_zero: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    """(left - left_zero) @ (right - right_zero), with zero points subtracted afterwards, as the kernels do it."""
    wide, inner = right.astype(np.int64), left.shape[1]
    total = left.astype(np.int64) @ wide if right.dtype == np.uint8 else saturating_product(left, right)
    rows = left.sum(axis=1, dtype=np.int64)[:, None]
    result: NDArray[np.int64] = (
        total - left_zero * wide.sum(axis=0) - rows * right_zero + inner * left_zero * right_zero
    )
    return result


def _unsigned(values: Array, zero_point: Array | None) -> tuple[NDArray[np.uint8], int]:
    """Activations as uint8 with their zero point; int8 is moved by 128, as the kernels do it."""
    zero = 0 if zero_point is None else int(zero_point.item())
    if values.dtype == np.int8:
        return (values.astype(np.int16) + 128).astype(np.uint8), zero + 128
    return values.astype(np.uint8), zero


def _for_evaluator(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for opset in copied.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, EVALUATOR_OPSET)
    return copied


def _evaluated(evaluator: ReferenceEvaluator, inputs: Mapping[str, Array]) -> Logits:
    (logits,) = evaluator.run(["logits"], dict(inputs))
    return np.asarray(logits, dtype=np.float32)
