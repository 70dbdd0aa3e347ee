"""Exact and saturating integer arithmetic, and what either makes of a graph's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx.reference.ops.op_conv_integer import ConvInteger as ExactConvInteger
from onnx.reference.ops.op_matmul_integer import MatMulInteger as ExactMatMulInteger

from optimize.build import Build
from optimize.judge.integers import ConvInteger, MatMulInteger, exact_logits, saturated_logits, saturating_product
from optimize.judge.quality import accuracy
from optimize.judge.saturation import saturation
from optimize.steps.quantize import quantize_dynamic
from tests.optimize.conftest import result
from tests.optimize.steps.test_export import run


def row(*values: int) -> Any:
    return np.array([values], dtype=np.uint8)


def column(*values: int) -> Any:
    return np.array([values], dtype=np.int8).T


@pytest.mark.parametrize(
    ("activations", "weights", "product"),
    [
        ([255, 255], [64, 64], 32640),
        ([255, 255], [-64, -64], -32640),
        ([255, 255], [127, 127], 32767),  # 64,770
        ([255, 255], [-128, -128], -32768),  # -65,280
        ([255, 255], [127, -128], -255),  # they fit together, though neither is small
        ([255, 255, 255, 255], [127, 127, 127, 127], 65534),  # two sums of two, each clamped
        ([255, 0, 255, 0], [127, 0, 127, 0], 64770),  # neighbours only: the first and the third never meet
        ([255, 255, 255], [100, 100, 100], 32767 + 25500),  # the last one is alone
    ],
)
def test_two_neighbouring_products_are_clamped(activations: list[int], weights: list[int], product: int) -> None:
    assert saturating_product(row(*activations), column(*weights)).item() == product


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="needs uint8 and int8, got int8 and int8"):
        saturating_product(column(1), column(1))


def test_a_negative_axis_counts_from_the_end() -> None:
    shapes = {"data": (2, 3, 5), "indices": (2, 3, 4)}
    kinds = {"data": onnx.TensorProto.FLOAT, "indices": onnx.TensorProto.INT64}
    inputs = [onnx.helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]
    output = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node("GatherElements", list(shapes), ["logits"], axis=-1)
    data = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
    indices = np.arange(24).reshape(2, 3, 4) % 5
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "graph", inputs, [output]))
    wanted = [[[data[i, j, k] for k in indices[i, j]] for j in range(3)] for i in range(2)]
    assert exact_logits(model, {"data": data, "indices": indices}).tolist() == wanted


small = arrays(np.int8, (6, 3), elements=st.integers(-64, 64))
unsigned = arrays(np.uint8, (6, 3))


@given(arrays(np.uint8, (4, 6)) | arrays(np.int8, (4, 6)), small | unsigned, st.data())
def test_products_of_small_or_unsigned_weights_are_exact(left: Any, right: Any, data: st.DataObject) -> None:
    left_zero = data.draw(arrays(left.dtype, ()))
    right_zero = data.draw(arrays(right.dtype, ()) | arrays(right.dtype, (3,)))
    for zeros in ((), (left_zero,), (left_zero, right_zero)):
        got, exact = (operator.eval(left, right, *zeros) for operator in (MatMulInteger, ExactMatMulInteger))
        np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2]},
        {"pads": [1, 1, 1, 1]},
        {"pads": [0, 1, 2, 0]},
        {"group": 2},
        {"group": 4, "strides": [1, 2]},
        {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
        {"auto_pad": "VALID", "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER"},
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_convolutions_with_small_weights_are_exact(attributes: dict[str, Any], size: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 4, 7, 8)).astype(np.uint8)
    weights = rng.integers(-64, 65, (8, 4 // attributes.get("group", 1), size, size)).astype(np.int8)
    zero = np.array(7, dtype=np.uint8)
    # onnx's operator pads with 0 after the zero point was taken off, and so with the zero point.
    got, exact = (o.eval(pixels, weights, zero, **attributes) for o in (ConvInteger, ExactConvInteger))
    np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize("group", [1, 2])
def test_each_output_of_a_convolution_has_its_own_zero_point(group: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 2, 4, 4)).astype(np.uint8)
    weights = rng.integers(-64, 65, (4, 2 // group, 3, 3)).astype(np.int8)
    zeros = np.array([0, 1, -2, 3], dtype=np.int8)
    got = ConvInteger.eval(pixels, weights, np.array(0, np.uint8), zeros, group=group)
    moved = weights.astype(np.int16) - zeros[:, None, None, None]
    exact = ExactConvInteger.eval(pixels, moved.astype(np.int8), np.array(0, np.uint8), group=group)
    np.testing.assert_array_equal(got, exact)


def test_a_convolution_clamps_neighbouring_channels() -> None:
    pixels, weights = np.full((1, 2, 1, 1), 255, np.uint8), np.full((1, 2, 1, 1), 127, np.int8)
    assert ConvInteger.eval(pixels, weights).item() == 32767


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_padding_is_that_of_onnx_runtime(auto_pad: str, stride: int) -> None:
    """onnx's own operator pads otherwise where a stride is not 1."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 2, 5, 6)).astype(np.uint8)
    weights = rng.integers(-64, 65, (3, 2, 2, 3)).astype(np.int8)
    fields: dict[str, Any] = {"auto_pad": auto_pad, "strides": [stride, stride]}
    node = onnx.helper.make_node("ConvInteger", ["pixels", "weights"], ["product"], **fields)
    graph = onnx.helper.make_graph(
        [node],
        "graph",
        [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, pixels.shape)],
        [onnx.helper.make_tensor_value_info("product", onnx.TensorProto.INT32, None)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"pixels": pixels})
    np.testing.assert_array_equal(ConvInteger.eval(pixels, weights, **fields), wanted)


def of_each(compute: Any, model: onnx.ModelProto, build: Build, items: Any) -> Any:
    """Logits of items that are asked one by one, as most texts come."""
    return np.concatenate([compute(model, build.preparer.collate([item])) for item in items])


def test_a_bert_with_the_whole_range_drifts_without_vnni_and_ours_does_not(text_build: Build, tmp_path: Path) -> None:
    """What kept the tiny cascades from being published on CPUs without VNNI.

    How many labels the drift changes depends on how well the model was trained: 12 to 15 points of accuracy were lost
    by one that answered 84 % right, one point by one that answered all right.
    """
    source = result(text_build, "expert/export").path
    holdout = text_build.preparer.prepare(text_build.splits.holdout)
    items, targets = holdout.items[:100], holdout.targets[:100]
    spread = np.concatenate([run(source, text_build.preparer.collate([item])) for item in items]).std()
    whole = onnx.load(quantize_dynamic(source, tmp_path / "whole.onnx", reduce_range=False))
    ours = onnx.load(quantize_dynamic(source, tmp_path / "ours.onnx"))
    assert saturation(whole) is not None
    exact, saturated = (of_each(compute, whole, text_build, items) for compute in (exact_logits, saturated_logits))
    assert np.abs(saturated - exact).mean() > 0.03 * spread
    right = accuracy(exact, targets)
    assert accuracy(saturated, targets) <= right
    exact, saturated = (of_each(compute, ours, text_build, items) for compute in (exact_logits, saturated_logits))
    np.testing.assert_array_equal(saturated, exact)
    assert accuracy(saturated, targets) > right - 0.03


def test_what_this_machine_answers_are_exact_integers(build: Build, tmp_path: Path) -> None:
    """On a CPU with VNNI as on one without, apart from values that rounding moves by a step."""
    path = result(build, "screen/quantize").path
    items = build.preparer.prepare(build.splits.holdout).items[:16]
    exact = of_each(exact_logits, onnx.load(path), build, items)
    served = np.concatenate([run(path, build.preparer.collate([item])) for item in items])
    assert np.abs(served - exact).mean() < 0.03 * exact.std()


def test_a_resnet_with_the_whole_range_drifts_without_vnni_and_ours_does_not(image_build: Build) -> None:
    model = onnx.load(result(image_build, "screen/quantize").path)
    inputs = image_build.preparer.collate(image_build.preparer.prepare(image_build.splits.holdout).items[:32])
    exact = exact_logits(model, inputs)
    np.testing.assert_allclose(saturated_logits(model, inputs), exact, atol=1e-4)
    assert np.abs(saturated_logits(doubled(model), inputs) - exact_logits(doubled(model), inputs)).mean() > 0.1


def doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with int8 weights of the whole range, twice as large."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.int8 and values.ndim > 1:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(np.clip(2 * values.astype(int), -128, 127).astype(np.int8), tensor.name)
            )
    return made
