from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from optimize.models.graphs import IR_VERSION, quiet, range_of_batch, save_graph, work_beside
from serving.model.open_session import open_session


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


def test_a_saved_graph_has_no_notes(tmp_path: Path) -> None:
    """Wherever onnx has room for them: model, graph, subgraph, function, node, attribute, value, tensor."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "logits", "between")]
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0])
    inner = helper.make_graph([helper.make_node("Add", ["x", "weight"], ["y"])], "inner", [], [])
    inner.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2]))
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    choose = helper.make_node("If", ["yes"], ["between"], then_branch=inner, else_branch=inner)
    opset = helper.make_opsetid("", 18)
    twice = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [opset])
    nodes = [yes, choose, helper.make_node("Twice", ["between"], ["logits"], domain="own")]
    graph = helper.make_graph(nodes, "outer", values[:1], values[1:2], [weight], value_info=values[2:])
    imports = [opset, helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[twice])

    plain = model.SerializeToString()
    noted = 0

    def note(message: Any) -> None:
        nonlocal noted
        names = message.DESCRIPTOR.fields_by_name
        if "doc_string" in names:
            message.doc_string, noted = "/home/someone/model.py", noted + 1
        if "metadata_props" in names:
            message.metadata_props.add(key="stack_trace", value="/home/someone/model.py")
        for field, value in message.ListFields():
            if field.message_type is not None and field.name != "metadata_props":
                for each in [value] if hasattr(value, "ListFields") else value:
                    note(each)

    note(model)
    assert noted > 20
    save_graph(model, tmp_path / "model.onnx")
    assert b"someone" not in (tmp_path / "model.onnx").read_bytes()
    model.ir_version = onnx.load_from_string(plain).ir_version
    assert model.SerializeToString() == plain, "and nothing else is gone"
    session = open_session(tmp_path / "model.onnx", "CPUExecutionProvider", threads=1)
    got = session.run(["logits"], {"x": np.ones(2, dtype=np.float32)})[0]
    np.testing.assert_array_equal(got, [4.0, 6.0])


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


@pytest.mark.parametrize(("operator", "ranges"), [("Add", False), ("DynamicQuantizeLinear", True)])
def test_a_range_of_the_whole_batch_is_seen_by_its_operator(operator: str, ranges: bool) -> None:
    assert range_of_batch(doubling(operator)) is ranges


def test_a_folder_for_work_is_empty_and_goes_whatever_happens(tmp_path: Path) -> None:
    (tmp_path / "q.quantizing").mkdir()
    (tmp_path / "q.quantizing" / "left").touch()
    with work_beside(tmp_path / "q.onnx") as work:
        assert (work.parent, list(work.iterdir())) == (tmp_path, [])
    with contextlib.suppress(RuntimeError), work_beside(tmp_path / "q.onnx"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
