"""Static INT8 by ONNX Runtime's quantizer: what it computes, and which calibration is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from optimize.build import Build
from optimize.data.inputs import Preparer
from optimize.errors import StepError
from optimize.judge.company import in_company
from optimize.judge.integers import exact_logits, saturated_logits
from optimize.judge.measure import run_of
from optimize.judge.saturation import saturation
from optimize.models import calibration
from optimize.models.calibration import CALIBRATIONS, quantize_calibrated
from optimize.models.graphs import range_of_batch
from optimize.models.saved import load_model
from optimize.results import Result
from tests.optimize.conftest import result
from tests.optimize.models.onnx_files import IMAGES, image_folder
from tests.optimize.steps.test_export import axes, run
from tests.optimize.steps.test_fuse import operators
from tests.optimize.steps.test_quantize import after_fusion, widest

ITEMS = 64


def texts(build: Build, split: Any) -> list[dict[str, Any]]:
    return [build.preparer.collate([item]) for item in build.prepared(split).items[:ITEMS]]


def given(build: Build, **changes: Any) -> dict[str, Any]:
    """The arguments of `quantize_calibrated` beside the two files."""
    return {
        "preparer": build.preparer,
        "calibration": build.prepared("calibration").items,
        "selection": build.prepared("selection").items[:ITEMS],
        "targets": build.prepared("selection").targets[:ITEMS],
        "tolerable_loss": 0.5,
        **changes,
    }


@pytest.fixture(scope="module")
def source(text_build: Build) -> Path:
    return result(text_build, "expert/export").path


@pytest.fixture(scope="module")
def static(text_build: Build, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize_calibrated(source, tmp_path_factory.mktemp("static") / "int8.onnx", **given(text_build))


def test_products_with_weights_are_integers_with_outputs_in_float(
    text_build: Build, source: Path, static: Path, tmp_path: Path
) -> None:
    layers = load_model(text_build.teacher.path, "text").config.num_hidden_layers
    fused = operators(after_fusion(static, tmp_path))
    # Four of the attention and two of the feed-forward; products of two activations stay as they were.
    assert fused["MatMulIntegerToFloat"] == 6 * layers
    assert fused["MatMul"] == 2 * layers
    assert axes(static) == axes(source)
    assert [file.name for file in static.parent.iterdir()] == ["int8.onnx"], "nothing is left beside it"


def test_it_saturates_on_no_cpu(text_build: Build, static: Path) -> None:
    model = onnx.load(static)
    assert saturation(model) is None
    count, low, high = widest(static)
    assert (count, low, high) == (operators(static)["MatMul"] // 8 * 6, -64, 64)
    text = texts(text_build, "selection")[0]
    exact = exact_logits(model, text)
    np.testing.assert_array_equal(saturated_logits(model, text), exact)
    np.testing.assert_allclose(run(static, text), exact, atol=0.05)


def test_its_answers_do_not_depend_on_company(text_build: Build, static: Path) -> None:
    assert not range_of_batch(onnx.load(static))
    data, ask = text_build.prepared("selection"), run_of(text_build, Result("expert", "q", static, "key", "int8"))
    alone = np.concatenate([ask([item]) for item in data.items])
    assert in_company(ask, data.items, alone, "int8", seed=0)["failed"] == []


def test_it_stays_close_to_float(text_build: Build, source: Path, static: Path) -> None:
    ours, theirs = (np.concatenate([run(p, text) for text in texts(text_build, "selection")]) for p in (static, source))
    assert 0 < np.abs(ours - theirs).mean() < 0.05 * theirs.std()
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.9


def test_a_ready_graph_of_images_is_in_integers_up_to_its_logits(tmp_path: Path) -> None:
    graph = image_folder(tmp_path / "graph") / "model.onnx"
    rng = np.random.default_rng(0)
    items = [rng.normal(size=(3, 16, 16)).astype(np.float32) for _ in range(ITEMS)]
    together = {"pixel_values": np.stack(items)}
    wanted = run(graph, together)
    path = quantize_calibrated(
        graph,
        tmp_path / "int8.onnx",
        preparer=Preparer(IMAGES),
        calibration=items[:16],
        selection=items,
        targets=wanted.argmax(axis=1),
        tolerable_loss=0.2,
        form=calibration.IMAGES,
    )
    fused = operators(after_fusion(path, tmp_path))
    assert fused["QLinearConv"] == operators(graph)["Conv"]
    assert fused["Conv"] == fused["Add"] == 0
    model = onnx.load(path)
    assert saturation(model) is None
    assert not range_of_batch(model)
    assert axes(path) == axes(graph)
    np.testing.assert_array_equal(saturated_logits(model, together), exact_logits(model, together))
    got = run(path, together)
    np.testing.assert_allclose(got, exact_logits(model, together), atol=0.05)
    assert 0 < np.abs(got - wanted).mean() < 0.1 * wanted.std()


def moving(**moves: float) -> Any:
    """In the place of `calibrated`: the float graph with its logits moved by so much, for each method."""

    def write(source: Path, output: Path, method: str, *_: object) -> Path:
        model = onnx.load(source)
        (bias,) = [t for t in model.graph.initializer if t.name.endswith("classifier.bias")]
        bias.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(moves[method]), bias.name)
        )
        onnx.save(model, output)
        return output

    return write


def copied(source: Path, output: Path) -> Path:
    return Path(shutil.copy(source, output))


@pytest.mark.parametrize("best", list(CALIBRATIONS))
def test_the_calibration_with_the_smallest_gap_is_kept(
    text_build: Build, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: str
) -> None:
    moves = {"min-max": 0.5, "percentile": -0.5, "entropy": 0.5, best: 0.25}
    monkeypatch.setattr(calibration, "calibrated", moving(**moves))
    monkeypatch.setattr(calibration, "pre_processed", copied)
    path = quantize_calibrated(source, tmp_path / "q.onnx", **given(text_build))
    text = texts(text_build, "selection")[0]
    np.testing.assert_allclose(run(path, text) - run(source, text), 0.25, atol=1e-4)


def test_no_calibration_that_holds_is_an_error(
    text_build: Build, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number, in the place of a range that overflows."""
    monkeypatch.setattr(calibration, "calibrated", moving(**dict.fromkeys(CALIBRATIONS, float("nan"))))
    monkeypatch.setattr(calibration, "pre_processed", copied)
    with pytest.raises(StepError, match=r"no static calibration stays within 50.00% .* take the way `dynamic`"):
        quantize_calibrated(source, tmp_path / "q.onnx", **given(text_build))
    assert not list(tmp_path.iterdir())


def test_calibrating_prints_no_more_than_a_line(
    text_build: Build, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize_calibrated(source, tmp_path / "q.onnx", **given(text_build))
    # On a slow machine it also says how far it is, as all long work does.
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("calibration ")]
    assert len(said) == 1
    assert said[0].startswith("calibrated by ")
