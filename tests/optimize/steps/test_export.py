from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from optimize.build import Build
from optimize.models.graphs import IR_VERSION
from optimize.models.saved import load_model
from optimize.steps.export import Export, export
from serving.model.open_session import open_session
from tests.optimize.conftest import result, tiny_resnet50, torch_logits


def run(path: Path, inputs: dict[str, Any]) -> Any:
    return open_session(path, "CPUExecutionProvider", threads=1).run(["logits"], inputs)[0]


def axes(path: Path) -> dict[str, list[Any]]:
    graph = onnx.load(path).graph
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


@pytest.mark.parametrize("role", ["expert", "screen"])
def test_the_graph_says_what_the_checkpoint_says_for_every_shape(build: Build, role: str) -> None:
    model = load_model(build.checkpoint_of(role).path, build.recipe.task)
    items = build.preparer.prepare(build.splits.holdout).items
    for size in (1, 3, 8):
        inputs = build.preparer.collate(items[:size])
        got = run(result(build, f"{role}/export").path, inputs)
        np.testing.assert_allclose(got, torch_logits(model, inputs), atol=2e-5)


def test_axes_are_named_and_dynamic(text_build: Build, image_build: Build) -> None:
    text = axes(result(text_build, "expert/export").path)
    assert text["input_ids"] == text["attention_mask"] == ["batch_size", "sequence_length"]
    assert text["logits"] == ["batch_size", 6]
    image = axes(result(image_build, "expert/export").path)
    assert image["pixel_values"][0] == image["logits"][0] == "batch_size"


def test_a_resnet_of_transformers(tmp_path: Path) -> None:
    model = tiny_resnet50()
    path = export(model, Export(), tmp_path / "model.onnx")
    pixels = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(
        run(path, {"pixel_values": pixels}), torch_logits(model, {"pixel_values": pixels}), atol=1e-4
    )
    assert onnx.load(path).ir_version <= IR_VERSION
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"], "nothing is left beside it"


def test_the_model_itself_is_left_as_it_was(text_build: Build, tmp_path: Path) -> None:
    model = load_model(text_build.teacher.path, "text")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, Export(opset=17), tmp_path / "model.onnx")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(entry.version for entry in onnx.load(tmp_path / "model.onnx").opset_import if not entry.domain) == 17
