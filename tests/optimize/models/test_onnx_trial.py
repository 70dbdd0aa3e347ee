"""A graph is run before anything is made of it: any batch, any length, every id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from optimize.errors import CheckpointError
from optimize.models.heads import HeadRules
from optimize.models.onnx_checkpoint import OnnxFiles, TextInputs, take_in_graph
from tests.encoders import LABELS, POSITIONS, tiny_tokeniser
from tests.optimize.models.onnx_files import (
    changed,
    gap,
    refusal,
    renamed,
    sized,
    take,
    text_folder,
    with_end,
)


@pytest.mark.parametrize(("place", "size"), [(0, 1), (0, 3), (1, 8)])
def test_fixed_axes_are_made_dynamic_where_nothing_depends_on_them(place: int, size: int, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", lambda model: sized(model, place, size))
    assert gap(take(folder)) < 1e-5


def test_an_axis_that_is_fixed_inside_is_refused_with_the_remedy(tmp_path: Path) -> None:
    def fix(model: onnx.ModelProto) -> None:
        """A reshape to one row of three labels, as exports without dynamic axes have it."""
        renamed(model, "logits", "before")
        model.graph.initializer.append(helper.make_tensor("rows", TensorProto.INT64, [2], [1, 3]))
        model.graph.node.append(helper.make_node("Reshape", ["before", "rows"], ["logits"]))
        model.graph.output[0].name = "logits"
        sized(model, 0, 1)

    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", fix)
    message = refusal(folder)
    assert "exported for a batch of one size, and requests come in batches of any; export it with a dynamic" in message
    assert "its Reshape" in message


def test_shares_that_something_else_makes_are_refused(tmp_path: Path) -> None:
    def exponentials(model: onnx.ModelProto) -> None:
        with_end("Exp")(model)
        renamed(model, "answer", "powers")
        model.graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
        model.graph.node.append(helper.make_node("ReduceSum", ["powers", "one"], ["sum"]))
        model.graph.node.append(helper.make_node("Div", ["powers", "sum"], ["logits"]))
        model.graph.output[0].name = "logits"

    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", exponentials)
    assert "gives shares that add up to 1, and logits are taken" in refusal(folder)


def test_more_tokens_or_ids_than_the_graph_knows(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    with pytest.raises(CheckpointError, match=f"does not take texts of {POSITIONS + 1} tokens; lower text.max_tokens"):
        take_in_graph(
            OnnxFiles(folder, None), "text", LABELS, HeadRules(), TextInputs(max_tokens=POSITIONS + 1, pairs=False)
        )
    tokenizer = tiny_tokeniser("wordpiece")
    ids = len(tokenizer)
    path = folder / "tokenizer.json"
    added = json.loads(path.read_text())
    added["added_tokens"].append({**added["added_tokens"][0], "id": ids, "content": "[NEW]"})
    path.write_text(json.dumps(added))
    assert f"its tokeniser has {ids + 1} ids and it has fewer embeddings" in refusal(folder)


def new(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", onnx.defs.onnx_opset_version()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (new, "cannot be read by ONNX Runtime ("),
        (with_end("Log"), "says things that are no numbers about a plain input"),
    ],
    ids=["new opset", "NaN"],
)
def test_what_does_not_run_is_refused_in_one_sentence(change: Any, message: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", change)
    told = refusal(folder)
    assert message in told
    assert len(told) < 420
