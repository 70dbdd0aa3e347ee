from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from optimize.models.graphs import IR_VERSION, quiet, save_graph
from serving.model.session import open_session


def doubling(operator: str = "Add") -> onnx.ModelProto:
    """A graph whose `logits` are its input taken twice."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch_size", 2]) for name in ("x", "logits")]
    node = helper.make_node(operator, ["x", "x"], ["logits"])
    graph = helper.make_graph([node], "doubling", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_a_saved_graph_can_be_read_by_onnx_runtime(tmp_path: Path) -> None:
    graph = doubling()
    assert graph.ir_version > IR_VERSION, "what onnx writes by itself, ONNX Runtime does not read"
    path = tmp_path / "model.onnx"
    save_graph(graph, path)
    assert onnx.load(path).ir_version == IR_VERSION
    session = open_session(path, "CPUExecutionProvider", threads=1)
    got = session.run(["logits"], {"x": np.ones((3, 2), dtype=np.float32)})[0]
    np.testing.assert_array_equal(got, np.full((3, 2), 2.0))


def test_a_graph_that_is_not_valid_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save_graph(doubling(), path)
    before = path.read_bytes()
    with pytest.raises(onnx.checker.ValidationError):
        save_graph(doubling("NoSuchOperator"), path)
    assert path.read_bytes() == before


def test_quiet_silences_warnings_and_logs_until_it_ends() -> None:
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn("of no use", stacklevel=1)
            assert logging.root.manager.disable == logging.WARNING
        warnings.warn("of use", stacklevel=1)
    assert [str(warning.message) for warning in told] == ["of use"]
    assert logging.root.manager.disable == disabled
