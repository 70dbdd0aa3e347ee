"""bf16 on a GPU (make test-gpu): ONNX Runtime has the kernels, and they give what was emulated on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from optimize.models.bfloat16 import open_on_cpu
from optimize.models.saved import load_model
from optimize.steps.export import Export, export
from optimize.steps.fuse import Fuse, fuse
from serving.arrays import Array
from serving.model.device import gpu_present, without_bfloat16
from serving.model.open_session import open_session
from tests.optimize.conftest import reopened, result, tiny_resnet50
from tests.tiny import TinyCascades

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpu_present(), reason="there is no GPU on this machine"),
    pytest.mark.skipif(bool(gpu_present() and without_bfloat16((0,))), reason="the GPU has no bfloat16"),
]


def check(path: Path, inputs: dict[str, Array]) -> None:
    session = open_session(path, "CUDAExecutionProvider", 1)
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    (got,), wanted = session.run(["logits"], inputs), open_on_cpu(path, 1)(inputs)
    np.testing.assert_allclose(got, wanted, atol=0.05 * max(1.0, float(np.abs(wanted).max())))


def test_a_bert(tiny_recipes: dict[str, Path], tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    build = reopened("tiny-text", tiny_recipes, tiny_cascades)
    config = load_model(build.teacher.path, "text").config
    path = fuse(result(build, "expert/export").path, config, Fuse(precision="bf16"), tmp_path / "brain.onnx")
    items = build.preparer.prepare(build.splits.holdout).items[:8]
    check(path, build.preparer.collate(items))


def test_a_resnet(tmp_path: Path) -> None:
    model = tiny_resnet50()
    path = fuse(
        export(model, Export(), tmp_path / "plain.onnx"), model.config, Fuse(precision="bf16"), tmp_path / "b.onnx"
    )
    assert any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in onnx.load(path).graph.initializer)
    check(path, {"pixel_values": np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)})
