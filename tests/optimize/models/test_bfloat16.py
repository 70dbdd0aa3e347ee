"""bfloat16 without a GPU: what is in it, what stays in float32, and what the GPU would compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from optimize.models.bfloat16 import emulated, in_bfloat16, open_on_cpu
from serving.arrays import Array

EMBEDDED, WIDTH = 12, 8
FLOAT, BFLOAT16, INT64 = TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.INT64


def graph(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], shape: list[int | str], kind: int = FLOAT, rank: int = 2
) -> onnx.ModelProto:
    """From `x` to `logits` in float32."""
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("logits", FLOAT, [f"size {place}" for place in range(rank)])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def drawn(*shape: int, scale: float = 1.0) -> Array:
    return (scale * np.random.default_rng(len(shape)).normal(size=shape)).astype(np.float32)


def network() -> onnx.ModelProto:
    """A convolution, a pooling that CUDA has not in bfloat16, and a product whose weight the pooling's way shares."""
    return graph(
        [
            helper.make_node("Conv", ["x", "kernel", "shift"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["pooled"]),
            helper.make_node("Shape", ["pooled"], ["sizes"]),
            helper.make_node("Slice", ["sizes", "from", "to"], ["two"]),
            helper.make_node("Reshape", ["pooled", "two"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight"], ["logits"]),
        ],
        {
            "kernel": drawn(WIDTH, 3, 3, 3),
            "shift": drawn(WIDTH),
            "weight": drawn(WIDTH, 4),
            "from": np.array([0]),
            "to": np.array([2]),
        },
        ["batch", 3, 6, 6],
    )


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def operator(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    (node,) = (node for node in model.graph.node if node.op_type == kind)
    return node


def test_what_cuda_has_in_bfloat16_is_in_it_and_the_rest_stays_in_float32() -> None:
    model = in_bfloat16(network())
    onnx.checker.check_model(model, full_check=True)
    weights = kinds(model)
    for name in (*operator(model, "Conv").input[1:], operator(model, "Gemm").input[1]):
        assert weights[name] == BFLOAT16
    assert FLOAT not in weights.values()
    typed = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    assert typed[operator(model, "Relu").output[0]] == BFLOAT16
    assert typed[operator(model, "GlobalAveragePool").input[0]] == FLOAT
    assert typed[operator(model, "Reshape").output[0]] == BFLOAT16
    assert typed[operator(model, "Shape").output[0]] == INT64
    assert [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)] == [FLOAT, FLOAT]
    assert next(entry.version for entry in model.opset_import if not entry.domain) == 22, "CUDA has no Conv before it"


def test_the_graph_that_was_given_stays_as_it_was() -> None:
    model = network()
    before = model.SerializeToString(deterministic=True)
    in_bfloat16(model)
    emulated(model)
    assert model.SerializeToString(deterministic=True) == before


def test_operators_of_onnxruntime_are_converted_but_not_the_layer_norm_of_embeddings() -> None:
    names = ("words", "places", "gamma", "beta", "wide", "bias", "narrow")
    shapes = ((30, EMBEDDED), (9, EMBEDDED), (EMBEDDED,), (EMBEDDED,), (EMBEDDED, WIDTH), (WIDTH,), (WIDTH, EMBEDDED))
    model = graph(
        [
            helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT32),
            helper.make_node(
                "EmbedLayerNormalization",
                ["ids", "", "words", "places", "", "gamma", "beta"],
                ["embedded", "mask"],
                domain="com.microsoft",
            ),
            helper.make_node("MatMul", ["embedded", "wide"], ["up"]),
            helper.make_node("BiasGelu", ["up", "bias"], ["bent"], domain="com.microsoft"),
            helper.make_node("MatMul", ["bent", "narrow"], ["down"]),
            helper.make_node(
                "SkipLayerNormalization",
                ["down", "embedded", "gamma", "beta"],
                ["normed", "", "", "sum"],
                domain="com.microsoft",
            ),
            helper.make_node("Add", ["normed", "sum"], ["logits"]),
        ],
        {name: drawn(*shape) for name, shape in zip(names, shapes, strict=True)},
        ["batch", "tokens"],
        INT64,
        rank=3,
    )
    half = in_bfloat16(model)
    onnx.checker.check_model(half)
    weights = kinds(half)
    assert [weights[name] for name in operator(half, "EmbedLayerNormalization").input[2:] if name] == [FLOAT] * 4
    assert [weights[name] for name in operator(half, "SkipLayerNormalization").input[2:]] == [BFLOAT16] * 2
    assert weights[operator(half, "BiasGelu").input[1]] == BFLOAT16
    casts = [node for node in half.graph.node if node.op_type == "Cast" and "embedded" in node.input]
    assert len(casts) == 1, "two operators share a copy"
    assert half.graph.node[-1].output[0] == "logits"


@pytest.mark.parametrize("value", [1.0, 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8, -3.14159, 3.0e38, 1e-30, 0.0])
def test_weights_are_rounded_to_the_nearest(value: float) -> None:
    """As the reference of ONNX rounds them."""
    weight = np.full((2, 2), value, np.float32)
    model = in_bfloat16(graph([helper.make_node("MatMul", ["x", "w"], ["logits"])], {"w": weight}, ["batch", 2]))
    (stored,) = model.graph.initializer
    cast = graph([helper.make_node("Cast", ["x"], ["logits"], to=BFLOAT16)], {}, ["batch", 2])
    cast.graph.output[0].type.tensor_type.elem_type = BFLOAT16
    (expected,) = ReferenceEvaluator(cast).run(None, {"x": weight})
    np.testing.assert_array_equal(
        numpy_helper.to_array(stored).astype(np.float32), np.asarray(expected).astype(np.float32)
    )


def test_what_is_emulated_is_what_onnxs_reference_computes(tmp_path: Path) -> None:
    model = in_bfloat16(network())
    onnx.save(model, path := tmp_path / "model.onnx")
    items = drawn(3, 3, 6, 6)
    got = open_on_cpu(path, 1)({"x": items})
    (expected,) = ReferenceEvaluator(model).run(None, {"x": items})
    spread = float(np.std(expected))
    np.testing.assert_allclose(got, expected, atol=0.02 * spread)
    exact = ReferenceEvaluator(network()).run(None, {"x": items})[0]
    assert not np.allclose(got, exact, atol=1e-4 * spread), "it is rounded"
    np.testing.assert_allclose(got, exact, atol=0.05 * spread)


def overflowing(kind: int) -> onnx.ModelProto:
    """A product of 120,000, and one that makes 480 of it."""
    array = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    nodes = [
        *([helper.make_node("Cast", ["x"], ["h"], to=kind)] if kind != FLOAT else []),
        helper.make_node("MatMul", ["x" if kind == FLOAT else "h", "up"], ["large"]),
        helper.make_node("MatMul", ["large", "down"], ["small"]),
        helper.make_node("Cast", ["small"], ["logits"], to=FLOAT),
    ]
    weights = {"up": np.full((4, 4), 300, array), "down": np.full((4, 4), 1e-3, array)}
    return graph(nodes, weights, ["batch", 4])


def test_an_overflow_in_fp16_is_seen_on_the_cpu_and_bfloat16_has_none(tmp_path: Path) -> None:
    inputs = {"x": np.full((1, 4), 100, np.float32)}
    onnx.save(overflowing(TensorProto.FLOAT16), half := tmp_path / "half.onnx")
    assert np.isinf(open_on_cpu(half, 1)(inputs)).all()
    onnx.save(in_bfloat16(overflowing(FLOAT)), brain := tmp_path / "brain.onnx")
    np.testing.assert_allclose(open_on_cpu(brain, 1)(inputs), np.full((1, 4), 480), rtol=0.01)


def test_a_number_of_16_bits_in_an_operator_is_widened_too(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.array([0.5], np.float16))
    model = graph(
        [
            helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
            helper.make_node("Constant", [], ["half"], value=constant),
            helper.make_node("Mul", ["h", "half"], ["less"]),
            helper.make_node("Cast", ["less"], ["logits"], to=FLOAT),
        ],
        {},
        ["batch", 2],
    )
    onnx.save(model, path := tmp_path / "model.onnx")
    np.testing.assert_array_equal(open_on_cpu(path, 1)({"x": np.full((1, 2), 3, np.float32)}), [[1.5, 1.5]])
