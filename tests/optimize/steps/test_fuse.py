from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from transformers import BertConfig, PretrainedConfig

from optimize.build import Build
from optimize.errors import StepError
from optimize.models.bfloat16 import open_on_cpu
from optimize.models.saved import load_model
from optimize.steps.export import Export, export
from optimize.steps.fuse import Fuse, fuse
from tests.optimize.conftest import result, tiny_resnet50
from tests.optimize.steps.test_export import run


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("role", ["expert", "screen"])
def test_a_fused_bert_has_fewer_operators_and_says_the_same(text_build: Build, tmp_path: Path, role: str) -> None:
    source = result(text_build, f"{role}/export").path
    config = load_model(text_build.checkpoint_of(role).path, "text").config
    path = fuse(source, config, Fuse(), tmp_path / "fused.onnx")
    before, after = operators(source), operators(path)
    assert after.total() < before.total() / 2
    assert after["SkipLayerNormalization"] == 2 * config.num_hidden_layers
    inputs = text_build.preparer.collate(text_build.preparer.prepare(text_build.splits.holdout).items[:8])
    np.testing.assert_allclose(run(path, inputs), run(source, inputs), atol=1e-4)


def test_half_precision_of_a_bert(text_build: Build, tmp_path: Path) -> None:
    source = result(text_build, "expert/export").path
    config = load_model(text_build.teacher.path, "text").config
    path = fuse(source, config, Fuse(precision="fp16"), tmp_path / "half.onnx")
    holdout = text_build.preparer.prepare(text_build.splits.holdout)
    check_half(source, path, text_build.preparer.collate(holdout.items[:8]))


def test_half_precision_of_a_resnet(tmp_path: Path) -> None:
    model = tiny_resnet50()
    source = export(model, Export(), tmp_path / "plain.onnx")
    path = fuse(source, model.config, Fuse(precision="fp16"), tmp_path / "half.onnx")
    pixels = np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)
    check_half(source, path, {"pixel_values": pixels})


def test_bf16_of_a_bert_has_weights_in_bfloat16_but_for_its_embeddings_at_most(
    text_build: Build, tmp_path: Path
) -> None:
    source = result(text_build, "expert/export").path
    config = load_model(text_build.teacher.path, "text").config
    path = fuse(source, config, Fuse(precision="bf16"), tmp_path / "brain.onnx")
    model = onnx.load(path)
    wide = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    readers = {node.op_type for node in model.graph.node if wide & set(node.input)}
    assert readers <= {"EmbedLayerNormalization"}
    assert operators(path)["Attention"] == config.num_hidden_layers
    holdout = text_build.preparer.prepare(text_build.splits.holdout)
    inputs = text_build.preparer.collate(holdout.items[:8])
    got, want = open_on_cpu(path, 1)(inputs), run(source, inputs)
    np.testing.assert_allclose(got, want, atol=0.05 * max(1.0, float(np.abs(want).max())))


def test_bf16_of_a_resnet(tmp_path: Path) -> None:
    model = tiny_resnet50()
    source = export(model, Export(), tmp_path / "plain.onnx")
    path = fuse(source, model.config, Fuse(precision="bf16"), tmp_path / "brain.onnx")
    weights = {tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) > 1}
    assert weights == {onnx.TensorProto.BFLOAT16}
    pixels = np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)
    got, want = open_on_cpu(path, 1)({"pixel_values": pixels}), run(source, {"pixel_values": pixels})
    np.testing.assert_allclose(got, want, atol=0.1 * max(1.0, float(np.abs(want).max())))


def test_bf16_is_the_remedy_of_fp16_alone() -> None:
    assert Fuse(precision="fp16").remedy == Fuse(precision="bf16")
    assert Fuse(precision="fp32").remedy is None
    assert Fuse(precision="bf16").remedy is None


def check_half(source: Path, path: Path, inputs: dict[str, np.ndarray]) -> None:
    weights = {tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) > 1}
    assert onnx.TensorProto.FLOAT16 in weights
    assert onnx.TensorProto.FLOAT not in weights
    assert path.stat().st_size < 0.75 * source.stat().st_size
    got, want = run(path, inputs), run(source, inputs)
    assert got.dtype == np.float32, "inputs and outputs keep their types"
    np.testing.assert_allclose(got, want, atol=0.03 * max(1.0, float(np.abs(want).max())))


def ready(**changed: Any) -> Any:
    """A ready graph for texts in fp32 whose architecture is known."""
    described = {"precision": "fp32", "inputs": ("input_ids", "attention_mask"), "config": BertConfig()}
    return SimpleNamespace(**(described | changed))


def test_what_it_cannot_fuse_of_a_ready_graph() -> None:
    Fuse().require_graph(ready())
    Fuse().require_graph(ready(inputs=("pixel_values",), config=PretrainedConfig()))
    with pytest.raises(StepError, match="fuse: the ready ONNX graph is in int8, and fp32 is fused; leave the step out"):
        Fuse().require_graph(ready(precision="int8"))
    with pytest.raises(StepError, match="names no model_type that is known; put the model's own"):
        Fuse().require_graph(ready(config=PretrainedConfig()))
