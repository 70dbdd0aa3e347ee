"""A ready graph in INT8 is published as it is only where it computes the same on every CPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import helper

from optimize.errors import GateError
from optimize.judge.ready_graph import require_equal_everywhere
from optimize.models.onnx_file import precision_of
from optimize.results import Result
from optimize.steps.export import Export
from optimize.steps.quantize import quantize_dynamic
from tests.optimize.models.onnx_files import changed, text_folder


def build_with(path: Path, starts_from: object = None) -> Any:
    """A build whose stages start from `starts_from`, or are the graph in `path`."""
    teacher = Result("teacher", "checkpoint", path, "key", precision_of(onnx.load(path)))
    steps = (Export(), SimpleNamespace(starts_from=starts_from))
    return SimpleNamespace(teacher=teacher, recipe=SimpleNamespace(steps_of=lambda _: steps))


def test_an_int8_graph_must_compute_the_same_everywhere(tmp_path: Path) -> None:
    plain = text_folder(tmp_path / "model") / "model.onnx"
    require_equal_everywhere(build_with(plain))
    require_equal_everywhere(build_with(quantize_dynamic(plain, tmp_path / "int8.onnx")))
    wide = quantize_dynamic(plain, tmp_path / "wide.onnx", reduce_range=False)
    with pytest.raises(GateError, match="checkpoint gives other answers on a CPU without VNNI"):
        require_equal_everywhere(build_with(wide))
    require_equal_everywhere(build_with(wide, starts_from="a student: the graph itself is not published"))


def test_integers_that_nothing_can_check_are_refused(tmp_path: Path) -> None:
    def own(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("QGemm", ["a", "b"], ["c"], domain="com.microsoft"))

    path = changed(text_folder(tmp_path / "model") / "model.onnx", own)
    with pytest.raises(GateError, match=r"ONNX Runtime's own operators \(QGemm\); bring the fp32 export"):
        require_equal_everywhere(build_with(path))
