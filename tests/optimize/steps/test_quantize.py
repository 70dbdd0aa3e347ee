from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from pydantic import ValidationError

from optimize.build import Build
from optimize.errors import StepError
from optimize.judge.saturation import signed_factors
from optimize.models.graphs import range_of_batch
from optimize.models.saved import load_model
from optimize.steps import quantize
from optimize.steps.export import Export
from optimize.steps.quantize import Quantize, quantize_dynamic, quantize_static
from tests.optimize.conftest import result, tiny_resnet50, torch_logits
from tests.optimize.steps.test_export import axes, run
from tests.optimize.steps.test_fuse import operators, ready


@pytest.mark.parametrize(
    ("ways", "stage", "task", "name", "competes"),
    [
        (None, "expert", "text", "quantize", True),
        (None, "screen", "text", "quantize", False),
        (None, "expert", "image", "quantize", False),
        (("static", "dynamic"), "screen", "text", "quantize", True),
        (("dynamic",), "expert", "text", "quantize", False),
        (("static",), "expert", "text", "quantize-static", False),
    ],
)
def test_which_ways_are_tried(ways: Any, stage: Any, task: Any, name: str, competes: bool) -> None:
    step = Quantize(ways=ways)
    assert step.name == name
    assert [companion.name for companion in step.companions(stage, task)] == ["quantize-static"] * competes
    alone = step.without_companions()
    assert (alone.name, alone.companions(stage, task)) == (name, ())
    assert alone.key_fields() == step.key_fields() == Quantize().model_dump()


def test_both_ways_are_made_under_names_of_their_own(text_build: Build) -> None:
    build = with_expert(text_build, Quantize())
    graphs = {graph.name: onnx.load(graph.path) for graph in build.graphs("expert")}
    assert list(graphs) == ["expert/export", "expert/quantize-static", "expert/quantize"]
    assert [range_of_batch(graph) for graph in graphs.values()] == [False, False, True]
    assert build.graphs("expert")[1].precision == "int8"


def test_a_way_that_loses_too_much_is_left_out_and_an_error_where_it_is_the_only_one(
    text_build: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise StepError("quantize: no static calibration stays within")

    monkeypatch.setattr(quantize, "quantize_calibrated", fails)
    # Another tolerable loss is another result, which is not there yet.
    build = with_expert(text_build, Quantize(tolerable_loss=0.25))
    assert [graph.name for graph in build.graphs("expert")] == ["expert/export", "expert/quantize"]
    assert "expert/quantize-static is left out: quantize: no static calibration" in capsys.readouterr().out
    with pytest.raises(StepError, match="no static calibration"):
        with_expert(text_build, Quantize(tolerable_loss=0.25, ways=("static",)))


def test_ways_are_for_a_bert(image_build: Build, text_build: Build) -> None:
    resnet, bert = (load_model(b.teacher.path, b.recipe.task).config for b in (image_build, text_build))
    Quantize(ways=("static",)).require_fitting(bert)
    Quantize().require_fitting(resnet)
    with pytest.raises(StepError, match=r"`ways` are those of a text encoder.* leave `ways` out"):
        Quantize(ways=("static",)).require_fitting(resnet)
    with pytest.raises(ValidationError, match="at least 1 item"):
        Quantize(ways=())


def with_expert(build: Build, step: Quantize) -> Build:
    """A copy of a text build whose expert is exported and quantized by `step`; other results are reused."""
    other = build.with_screen(())
    other.recipe = other.recipe.model_copy(update={"expert": (Export(), step)})
    other.carry_out("quantize")
    return other


def after_fusion(path: Path, folder: Path) -> Path:
    """The graph as ONNX Runtime carries it out."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return folder / "optimized.onnx"


@pytest.mark.parametrize("role", ["expert", "screen"])
def test_a_bert_multiplies_in_integers(text_build: Build, tmp_path: Path, role: str) -> None:
    source = result(text_build, f"{role}/export").path
    path = quantize_dynamic(source, tmp_path / "int8.onnx")
    layers = load_model(text_build.checkpoint_of(role).path, "text").config.num_hidden_layers
    # Four of the attention and two of the feed-forward of each layer, then the pooler and the head.
    assert operators(path)["MatMulInteger"] == 6 * layers + 2
    assert path.stat().st_size < source.stat().st_size
    inputs = text_build.preparer.collate(text_build.preparer.prepare(text_build.splits.holdout).items[:32])
    agreement = (run(path, inputs).argmax(axis=1) == run(source, inputs).argmax(axis=1)).mean()
    assert agreement > 0.9
    assert axes(path) == axes(source)
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"], "nothing is left beside it"


def widest(path: Path) -> tuple[int, int, int]:
    """How many signed factors a graph has, the lowest and the highest of their values."""
    found = signed_factors(onnx.load(path))
    return len(found), min(factor.low for factor in found), max(factor.high for factor in found)


@pytest.mark.parametrize("role", ["expert", "screen"])
def test_the_weights_of_a_bert_saturate_on_no_cpu(text_build: Build, tmp_path: Path, role: str) -> None:
    source = result(text_build, f"{role}/export").path
    path = quantize_dynamic(source, tmp_path / "int8.onnx")
    assert widest(path) == (operators(path)["MatMulInteger"], -64, 64)
    whole = quantize_dynamic(source, tmp_path / "whole.onnx", reduce_range=False)
    assert widest(whole) == (operators(path)["MatMulInteger"], -127, 127)


def test_the_weights_of_a_resnet_saturate_on_no_cpu(image_build: Build, tmp_path: Path) -> None:
    made = quantize_static(*arguments(image_build, tmp_path), accuracy=lambda _: 1.0, **calibration(image_build))
    products = operators(made)["Conv"] + operators(made)["Gemm"]
    assert widest(made) == (products, -63, 63)
    whole = quantize_static(
        *arguments(image_build, tmp_path), accuracy=lambda _: 1.0, reduce_range=False, **calibration(image_build)
    )
    assert widest(whole) == (products, -128, 127)


def test_a_resnet_convolves_in_integers(image_build: Build, tmp_path: Path) -> None:
    plain, path = (result(image_build, f"screen/{step}").path for step in ("export", "quantize"))
    convolutions = operators(plain)["Conv"]
    fused = operators(after_fusion(path, tmp_path))
    assert (fused["QLinearConv"], fused["Conv"]) == (convolutions, 0)
    assert fused["QLinearAdd"] >= 1, "at least where the shortcut keeps the shape"
    types = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert onnx.TensorProto.INT8 in types.values(), "weights lie in the file as int8"
    points = [types[n.input[2]] for n in onnx.load(path).graph.node if n.op_type == "QuantizeLinear"]
    assert set(points) == {onnx.TensorProto.UINT8}, "activations are uint8, VNNI's fast pair"
    holdout = image_build.preparer.prepare(image_build.splits.holdout)
    inputs = image_build.preparer.collate(holdout.items)
    ours, theirs = ((run(p, inputs).argmax(axis=1) == holdout.targets).mean() for p in (path, plain))
    assert abs(ours - theirs) < 0.06
    assert axes(path)["pixel_values"][0] == axes(path)["logits"][0] == "batch_size"


def test_a_resnet_of_transformers(tmp_path: Path) -> None:
    model = tiny_resnet50()
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(16, 3, 64, 64)).astype(np.float32) for _ in range(2)]
    path = quantize_static(model, Quantize(), tmp_path / "q.onnx", calibration=batches, accuracy=lambda _: 1.0)
    fused = operators(after_fusion(path, tmp_path))
    assert fused["QLinearConv"] == 53
    assert fused["Conv"] == 0
    for size in (1, 5):
        pixels = rng.normal(size=(size, 3, 64, 64)).astype(np.float32)
        got, want = run(path, {"pixel_values": pixels}), torch_logits(model, {"pixel_values": pixels})
        assert np.abs(got - want).max() < 0.3 * np.abs(want).max(), "random weights, so a loose bound"


def test_tuning_takes_the_first_configuration_that_holds(image_build: Build, tmp_path: Path) -> None:
    asked: list[int] = []

    def accuracy(run: Any) -> float:
        asked.append(1)
        return 0.5 if len(asked) == 2 else 0.9  # in float, then of a bad configuration and a good one

    quantize_static(*arguments(image_build, tmp_path), accuracy=accuracy, **calibration(image_build))
    assert len(asked) == 3


def test_no_configuration_that_holds_is_an_error(image_build: Build, tmp_path: Path) -> None:
    scores = iter([0.9])  # in float, then of each configuration
    with pytest.raises(StepError, match=r"no INT8 configuration stays within 0.50% .* in float \(90.00%\)"):
        quantize_static(
            *arguments(image_build, tmp_path), accuracy=lambda _: next(scores, 0.1), **calibration(image_build)
        )
    assert not list(tmp_path.iterdir())


def arguments(build: Build, folder: Path) -> tuple[Any, Quantize, Path]:
    return load_model(build.checkpoint_of("screen").path, "image"), Quantize(), folder / "q.onnx"


def calibration(build: Build) -> dict[str, Any]:
    return {"calibration": [np.stack(build.prepared("calibration").items[:16])]}


def test_what_it_cannot_quantize_of_a_ready_graph() -> None:
    Quantize().require_graph(ready())
    with pytest.raises(StepError, match="quantize: the ready ONNX graph is in int8 already; leave the step out"):
        Quantize().require_graph(ready(precision="int8"))
    Quantize().require_graph(ready(inputs=("pixel_values",)))
    with pytest.raises(StepError, match="`ways` are those of a text encoder"):
        Quantize(ways=("static",)).require_graph(ready(inputs=("pixel_values",)))
