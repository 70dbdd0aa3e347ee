"""The check of INT8 graphs for what saturates on CPUs without VNNI, on graphs that do and graphs that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimize.judge.saturation import MAX_SIGNED, saturation, signed_factors


def weights(low: int, high: int, dtype: Any = np.int8) -> Any:
    return np.array([[low, 0], [1, high]], dtype=dtype)


def graph(nodes: list[Any], inputs: dict[str, int], **constants: Any) -> onnx.ModelProto:
    """A graph of `nodes`; `inputs` by element type, all of shape [1, 2]."""
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, [1, 2]) for name, kind in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets)


def dynamic(w: Any) -> onnx.ModelProto:
    """What the dynamic quantizer writes for a MatMul."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero", "w_zero"], ["product"], "dense"),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    return graph(nodes, {"x": TensorProto.FLOAT}, w=w, w_zero=np.zeros((), dtype=w.dtype))


def dequantized(operator: str, w: Any, *between: str) -> onnx.ModelProto:
    """What the static quantizer writes, with operators that move values before or after DequantizeLinear."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "x_zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "x_zero"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "w_zero"], ["b0"]),
    ]
    for number, name in enumerate(between):
        nodes.append(helper.make_node(name, [f"b{number}"], [f"b{number + 1}"]))
    nodes.append(helper.make_node(operator, ["a", f"b{len(between)}"], ["y"], "dense"))
    constants = {"scale": np.float32(1), "x_zero": np.uint8(0), "w_zero": w.dtype.type(0), "w": w}
    return graph(nodes, {"x": TensorProto.FLOAT}, **constants)


def test_the_bound_is_what_two_products_leave_of_sixteen_bits() -> None:
    assert MAX_SIGNED == 64
    assert 2 * 255 * MAX_SIGNED <= 32767 < 2 * 255 * (MAX_SIGNED + 1)
    assert 2 * 255 * -MAX_SIGNED >= -32768 > 2 * 255 * -(MAX_SIGNED + 1)


@pytest.mark.parametrize(
    ("w", "fits"),
    [
        (weights(-64, 63), True),
        (weights(-64, 64), True),
        (weights(-65, 63), False),
        (weights(-64, 65), False),
        (weights(-127, 127), False),
        (weights(0, 255, np.uint8), True),
    ],
)
@pytest.mark.parametrize(
    "made", [dynamic, *(lambda w, o=o: dequantized(o, w) for o in ("MatMul", "Gemm", "Conv", "ConvTranspose"))]
)
def test_signed_weights_must_fit_and_unsigned_ones_may_be_anything(made: Any, w: Any, fits: bool) -> None:
    assert (saturation(made(w)) is None) == fits


@pytest.mark.parametrize(
    ("operator", "place", "domain"),
    [
        ("ConvInteger", 1, ""),
        ("QLinearMatMul", 3, ""),
        ("QLinearConv", 3, ""),
        ("QGemm", 3, "com.microsoft"),
        ("MatMulIntegerToFloat", 1, "com.microsoft"),
        ("DynamicQuantizeMatMul", 1, "com.microsoft"),
        ("QAttention", 1, "com.microsoft"),
        ("DynamicQuantizeLSTM", 2, "com.microsoft"),
    ],
)
def test_every_operator_that_multiplies_integers_is_looked_at(operator: str, place: int, domain: str) -> None:
    inputs = ["x", *("other" for _ in range(place - 1)), "w"]
    inputs += ["other"] * (4 if operator.startswith("QLinear") else 0)
    node = helper.make_node(operator, inputs, ["y"], domain=domain)
    made = graph([node], {"x": TensorProto.UINT8}, other=np.uint8(1), w=weights(-128, 127))
    (found,) = signed_factors(made)
    assert (found.operator, found.product, found.factor, found.low, found.high) == (operator, "y", "w", -128, 127)
    assert found.saturates


def test_weights_are_found_behind_operators_that_move_them() -> None:
    (found,) = signed_factors(dequantized("MatMul", weights(-128, 127), "Transpose", "Identity"))
    assert (found.factor, found.low, found.high) == ("w", -128, 127)


def test_weights_of_a_constant_node_are_found() -> None:
    tensor = numpy_helper.from_array(weights(-100, 3))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor),
        helper.make_node("MatMulInteger", ["x", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    (found,) = signed_factors(graph(nodes, {"x": TensorProto.UINT8}))
    assert (found.low, found.high) == (-100, 3)


def test_signed_values_made_at_run_time_may_be_anything() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["v", "scale", "zero"], ["w"]),
        helper.make_node("MatMulInteger", ["x", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    inputs = {"x": TensorProto.UINT8, "v": TensorProto.FLOAT}
    said = saturation(graph(nodes, inputs, scale=np.float32(1), zero=np.int8(0)))
    assert said is not None
    assert "'w' from -128 to 127" in said


def test_what_is_not_multiplied_in_integers_is_left_alone() -> None:
    """A table of int8 rows that are looked up, and int8 weights whose activations stay in float."""
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["table"]),
        helper.make_node("MatMul", ["x", "table"], ["z"]),
        helper.make_node("Gather", ["table", "row"], ["looked_up"]),
        helper.make_node("Add", ["z", "looked_up"], ["y"]),
    ]
    made = graph(nodes, {"x": TensorProto.FLOAT}, w=weights(-128, 127), scale=np.float32(1), row=np.int64(0))
    assert signed_factors(made) == []
    assert saturation(made) is None


def test_the_message_names_rule_value_and_remedy() -> None:
    said = saturation(dynamic(weights(-127, 127)))
    assert said is not None
    assert "must lie from -64 to 64" in said
    assert "1 of its products do not (MatMulInteger 'dense': 'w' from -127 to 127)" in said
    assert said.endswith("quantize it with reduced range (`reduce_range`) or unsigned weights")
