"""A model whose values fp16 cannot hold gets a graph in bf16 beside the one in fp16."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from optimize.build import Build
from optimize.judge.gates import parity
from optimize.judge.measure import logits_of
from optimize.models.bfloat16 import open_on_cpu
from optimize.models.fp16_range import ITEMS, too_large
from optimize.models.saved import load_model
from optimize.results import Result
from optimize.steps.fuse import Fuse, fuse
from tests.optimize.conftest import result


def with_large_values(source: Path, path: Path) -> Path:
    """The same network, but what its first feed-forward layer gives is 100,000 times as large."""
    model = onnx.load(source)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    (first, *_) = (node for node in products if "intermediate" in node.name)
    tensor = weights[first.input[1]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e5), tensor.name))
    onnx.save(model, path)
    return path


def test_values_that_are_too_large_are_found_on_the_cpu_and_bf16_holds_them(
    text_build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = result(text_build, "expert/export")
    config = load_model(text_build.teacher.path, "text").config
    items = text_build.prepared("selection").take(range(ITEMS))
    inputs = [text_build.preparer.collate([item]) for item in items]

    def fails(source: Path, precision: Literal["fp16", "bf16"], allowed: float = 0.25) -> bool:
        path = fuse(source, config, Fuse(precision=precision), tmp_path / f"{source.stem}-{precision}.onnx")
        half = Result("expert", "fuse-fp16", path, "key", precision)
        return too_large(half, Result("expert", "export", source, "key"), inputs, allowed)

    large = with_large_values(plain.path, tmp_path / "large.onnx")
    assert [fails(plain.path, "fp16"), fails(large, "bf16"), capsys.readouterr().out] == [False, False, ""]
    assert fails(large, "fp16")
    said = "expert/fuse-fp16: some values of the model are too large for fp16; bf16 is made, too"
    assert " ".join(capsys.readouterr().out.split()) == said
    assert fails(plain.path, "fp16", 1e-9)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("expert/fuse-fp16: fp16 moves logits by ")
    assert said.endswith("of their spread, at most 1e-09 is allowed; bf16 is made, too")


def test_a_build_carries_out_the_remedy(text_build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = copy.copy(text_build)
    build.folder, build.results = tmp_path, list(text_build.results)
    step, plain = Fuse(precision="fp16"), result(text_build, "expert/export")
    for number, path in enumerate((plain.path, with_large_values(plain.path, tmp_path / "large.onnx"))):
        source = Result("expert", "export", path, f"key {number}")
        half = build._carry_out(step, "expert", source)
        build._remedy(step, "expert", half, source)
        assert [each.name for each in build.results if each.precision == "bf16"] == ["expert/fuse-bf16"] * number
    (brain,) = (each for each in build.results if each.precision == "bf16")
    assert brain.provider == "CUDAExecutionProvider"
    run, data = open_on_cpu(source.path, 1), build.prepared("selection")
    wanted = np.concatenate([run(build.preparer.collate([item])) for item in data.take(range(8))])
    got = logits_of(build, brain, data)[:8]
    assert parity(got, wanted, "bf16", build.recipe.gates)["failed"] == []


def test_a_recipe_that_asks_for_bf16_gets_it_once(text_build: Build, tmp_path: Path) -> None:
    build = copy.copy(text_build)
    asked = (*text_build.recipe.expert, Fuse(precision="bf16"))
    build.recipe = text_build.recipe.model_copy(update={"expert": asked})
    build.folder, build.results = tmp_path, list(text_build.results)
    large = with_large_values(result(text_build, "expert/export").path, tmp_path / "large.onnx")
    source = Result("expert", "export", large, "key")
    build._remedy(Fuse(precision="fp16"), "expert", build._carry_out(Fuse(precision="fp16"), "expert", source), source)
    assert all(each.precision != "bf16" for each in build.results)
