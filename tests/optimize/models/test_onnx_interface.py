"""Our names for inputs and output, and logits where the graph gives shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from optimize.errors import CheckpointError
from optimize.models.onnx_interface import with_our_interface
from tests.optimize.models.onnx_files import changed, renamed, text_folder


def two_outputs(model: onnx.ModelProto) -> None:
    renamed(model, "logits", "answer")
    model.graph.output.append(model.graph.output[0])
    model.graph.output[1].name = model.graph.node[0].output[0]


def another_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_outputs, "has the outputs answer, "),
        (lambda model: renamed(model, "input_ids", "tokens"), "takes input_ids, attention_mask and at most"),
        (lambda model: renamed(model, "token_type_ids", "position_ids"), "position_ids, and a graph for texts takes"),
        (another_type, "input_ids must be INT64 with 2 axes, got INT32 with 2"),
    ],
    ids=["two outputs", "no input_ids", "other input", "int32"],
)
def test_other_inputs_and_outputs_are_refused_in_one_sentence(change: Any, message: str, tmp_path: Path) -> None:
    path = changed(text_folder(tmp_path / "model") / "model.onnx", change)
    with pytest.raises(CheckpointError) as refused:
        with_our_interface(onnx.load(path), "text", path)
    assert message in str(refused.value)
