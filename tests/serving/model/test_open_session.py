from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from serving.model.open_session import open_session
from tests.made import pixels, save_product


def test_a_session_has_its_own_threads_which_do_not_spin(tmp_path: Path) -> None:
    session = open_session(save_product(tmp_path / "model.onnx"), "CPUExecutionProvider", 3)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_a_session_can_be_traced_and_answers_the_same(tmp_path: Path) -> None:
    graph = save_product(tmp_path / "model.onnx")
    traced = open_session(graph, "CPUExecutionProvider", 1, trace_prefix=tmp_path / "trace")
    plain = open_session(graph, "CPUExecutionProvider", 1)
    inputs = {"pixel_values": pixels(2)}
    np.testing.assert_array_equal(traced.run(None, inputs)[0], plain.run(None, inputs)[0])
    trace = Path(traced.end_profiling())
    assert trace.parent == tmp_path
    assert any(event["cat"] == "Node" for event in json.loads(trace.read_text()))
