from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimize.models.qdq import complete_residuals, fold_weights

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(3, 2, 1, 1)).astype(np.float32)
SCALE = (np.abs(WEIGHT).max(axis=(1, 2, 3)) / 100).astype(np.float32)


def residual() -> onnx.ModelProto:
    """x -> (Conv by a weight that is quantized in the graph) + (Conv again) -> logits; both edges are float."""
    constants = {
        "weight": WEIGHT,
        "scale": SCALE,
        "zero": np.zeros(3, dtype=np.int8),
        "low": np.array(-64, dtype=np.int8),
        "high": np.array(63, dtype=np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["weight", "scale", "zero"], ["quantized"], axis=0),
        helper.make_node("Clip", ["quantized", "low", "high"], ["clipped"]),
        helper.make_node("DequantizeLinear", ["clipped", "scale", "zero"], ["dequantized"], axis=0),
        helper.make_node("Conv", ["x", "dequantized"], ["one"]),
        helper.make_node("Relu", ["one"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["logits"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch_size", channels, 4, 4])
        for name, channels in (("x", 2), ("logits", 3))
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "residual", values[:1], values[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"x": x})[0])


def test_folded_weights_lie_in_the_file_as_int8_and_give_the_same_logits() -> None:
    x = RNG.normal(size=(2, 2, 4, 4)).astype(np.float32)
    folded = fold_weights(residual())
    assert [node.op_type for node in folded.graph.node] == ["DequantizeLinear", "Conv", "Relu", "Add"]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in folded.graph.initializer}
    assert set(weights) == {"clipped", "scale", "zero"}, "what nothing reads is left out"
    assert weights["clipped"].dtype == np.int8
    assert (weights["clipped"].min() >= -64, weights["clipped"].max() <= 63) == (True, True)
    np.testing.assert_allclose(run(folded, x), run(residual(), x), atol=1e-6)


def test_float_edges_into_an_addition_are_quantized_with_the_measured_range() -> None:
    batches = [RNG.normal(size=(4, 2, 4, 4)).astype(np.float32) for _ in range(2)]
    model = fold_weights(residual())
    plain = run(model, batches[0])
    completed = complete_residuals(model, batches)
    (addition,) = [node for node in completed.graph.node if node.op_type == "Add"]
    producers = {name: node for node in completed.graph.node for name in node.output}
    assert [producers[name].op_type for name in addition.input] == ["DequantizeLinear"] * 2
    points = [tensor for tensor in completed.graph.initializer if tensor.name.endswith("zero_point")]
    assert {tensor.data_type for tensor in points} == {TensorProto.UINT8}
    steps = [float(numpy_helper.to_array(t)) for t in completed.graph.initializer if t.name.endswith("_scale")]
    assert np.abs(run(completed, batches[0]) - plain).max() <= sum(steps), "within one rounding step of each edge"


def test_a_graph_without_float_edges_is_left_as_it_is() -> None:
    model = fold_weights(residual())
    del model.graph.node[-1]
    model.graph.node[-1].output[0] = "logits"
    before = model.SerializeToString()
    assert complete_residuals(model, []).SerializeToString() == before
