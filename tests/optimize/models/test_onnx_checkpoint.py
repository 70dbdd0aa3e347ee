"""Ready ONNX files: taken in with our names, any batch and the data's labels, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from optimize.errors import CheckpointError
from optimize.models.graph_model import GraphModel
from optimize.models.heads import HeadRules
from optimize.models.onnx_checkpoint import OnnxFiles, TextInputs, take_in_graph
from optimize.models.saved import load_model, save_model
from serving.model.artifact import ImageSettings
from tests.encoders import LABELS, POSITIONS, tiny_batch, tiny_encoder, tiny_tokeniser
from tests.optimize.models.onnx_files import changed, image_folder, renamed, sized, text_folder, tiny_resnet, with_end

TEXTS = TextInputs(max_tokens=POSITIONS, pairs=False)
IMAGES = ImageSettings(width=16, height=16, mean=(0.5,) * 3, std=(0.25,) * 3)
ORDER = ("c", "a", "b")


def take(path: Path, labels: tuple[str, ...] = LABELS, **others: Any) -> GraphModel:
    return take_in_graph(OnnxFiles(path, None), "text", labels, HeadRules(**others), TEXTS)


def take_image(path: Path, settings: ImageSettings = IMAGES) -> GraphModel:
    return take_in_graph(OnnxFiles(path, None), "image", LABELS, HeadRules(), settings)


def refusal(path: Path, **others: Any) -> str:
    with pytest.raises(CheckpointError) as refused:
        take(path, **others)
    return str(refused.value)


def gap(graph: GraphModel, kind: str = "bert") -> float:
    """How far the graph's logits lie from the tiny encoder's, in the order of the graph's labels."""
    batch = tiny_batch(kind)
    batch["token_type_ids"] = np.zeros_like(batch["input_ids"])
    inputs = {name: torch.from_numpy(batch[name]) for name in graph.inputs}
    places = [LABELS.index(label) for label in graph.config.id2label.values()]
    with torch.no_grad():
        return float((graph(**inputs).logits - tiny_encoder(kind)(**inputs).logits[:, places]).abs().max())


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_a_folder_of_optimum_with_labels_in_another_order(kind: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", kind)
    graph = take(folder, ORDER)
    assert tuple(graph.config.id2label.values()) == ORDER
    assert gap(graph, kind) < 1e-5
    saved = save_model(graph, tmp_path / "saved", folder)
    assert {path.name for path in saved.iterdir()} >= {"config.json", "model.onnx", "tokenizer.json"}
    assert gap(load_model(saved, "text"), kind) < 1e-5  # type: ignore[arg-type]  # a GraphModel
    onnx.checker.check_model(saved / "model.onnx", full_check=True)


def test_weights_in_a_file_beside_come_inside(tmp_path: Path) -> None:
    path = text_folder(tmp_path / "model") / "model.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    assert path.stat().st_size < 100_000 < (path.parent / "model.onnx_data").stat().st_size
    digest = OnnxFiles(path, None).digest
    saved = save_model(take(path), tmp_path / "saved", path.parent)
    (path.parent / "model.onnx_data").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "model.onnx_data is a Git LFS pointer" in refusal(path)
    assert OnnxFiles(path, None).digest != digest, "the weights are part of the key"
    (path.parent / "model.onnx_data").unlink()
    assert "keeps weights in model.onnx_data, which is not there" in refusal(path)
    assert gap(load_model(saved, "text")) < 1e-5  # type: ignore[arg-type]


def test_a_tokeniser_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    path = (tmp_path / "graphs").mkdir() or (folder / "model.onnx").rename(tmp_path / "graphs" / "mine.onnx")
    assert gap(take_in_graph(OnnxFiles(path, folder), "text", ORDER, HeadRules(), TEXTS)) < 1e-5
    assert f"{path.parent} has no tokeniser" in refusal(path)


def test_without_names_the_labels_are_the_datas(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    (folder / "config.json").unlink()
    graph = take(folder, ("x", "y", "z"))
    assert tuple(graph.config.id2label.values()) == ("x", "y", "z")
    assert OnnxFiles(folder, None).labels is None


def test_other_labels_are_refused_as_those_of_any_checkpoint(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    assert "answers with the labels a, b, c, and the data has x, y, z" in refusal(folder, labels=("x", "y", "z"))
    assert take(folder, ("x", "y", "z"), trust_order=True).config.id2label == {0: "x", 1: "y", 2: "z"}
    message = refusal(folder, labels=("a", "b"))
    assert "has an output for 3 labels, its config.json names 3, and the data has 2 (a, b)" in message


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


def test_logits_are_taken_before_a_softmax(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", with_end("Softmax", axis=-1))
    assert gap(take(folder, ORDER)) < 1e-5
    assert "ends in Softmax; its logits are taken before it" in " ".join(capsys.readouterr().out.split())
    assert "another problem; leave problem out" in refusal(folder, multi_label=True)


def test_label_sets_come_with_a_sigmoid_alone(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", with_end("Sigmoid"))
    assert 'set problem = "multi-label" in [data]' in refusal(folder)
    graph = take(folder, multi_label=True)
    assert gap(graph) < 1e-5
    assert graph.config.problem_type == "multi_label_classification"
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"problem_type": "single_label_classification"}))
    assert "gives an item exactly one label" in refusal(folder, multi_label=True)


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


def foreign(model: onnx.ModelProto) -> None:
    with_end("Mystery", domain="my.company")(model)
    model.opset_import.append(helper.make_opsetid("my.company", 1))


def old(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 12))


def new(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", onnx.defs.onnx_opset_version()))


def two_outputs(model: onnx.ModelProto) -> None:
    renamed(model, "logits", "answer")
    model.graph.output.append(model.graph.output[0])
    model.graph.output[1].name = model.graph.node[0].output[0]


def half(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("half", TensorProto.FLOAT16, [1], [1.0]))


def another_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (foreign, "needs an operator that ONNX Runtime does not bring (my.company.Mystery)"),
        (new, "cannot be read by ONNX Runtime ("),
        (old, "is written in operator set 12, and the quantizers need at least 13"),
        (two_outputs, "has the outputs answer, "),
        (half, "has weights of 16 bits, which are for a GPU"),
        (lambda model: renamed(model, "input_ids", "tokens"), "takes input_ids, attention_mask and at most"),
        (lambda model: renamed(model, "token_type_ids", "position_ids"), "position_ids, and a graph for texts takes"),
        (another_type, "input_ids must be INT64 with 2 axes, got INT32 with 2"),
        (with_end("Log"), "says things that are no numbers about a plain input"),
    ],
    ids=[
        "custom operator",
        "new opset",
        "old opset",
        "two outputs",
        "fp16",
        "no input_ids",
        "other input",
        "int32",
        "NaN",
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(change: Any, message: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    changed(folder / "model.onnx", change)
    told = refusal(folder)
    assert message in told
    assert len(told) < 420


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"no graph at all", "is not a valid ONNX file (not a protobuf of ONNX)"),
        (b"", "is not a valid ONNX file ("),
    ],
)
def test_a_file_that_is_no_graph(content: bytes, message: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    (folder / "model.onnx").write_bytes(content)
    assert message in refusal(folder)


def test_half_a_file(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[: len(whole) // 2])
    assert "is not a valid ONNX file" in refusal(folder)


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    (folder / "model.onnx").rename(folder / "other.onnx")
    assert take(folder).inputs == ("input_ids", "attention_mask", "token_type_ids")
    (folder / "second.onnx").write_bytes(b"")
    assert "has 2 ONNX files, such as other.onnx, and one is taken" in refusal(folder)
    for path in folder.glob("*.onnx"):
        path.unlink()
    assert "has no ONNX file, and one is taken" in refusal(folder)


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


def test_an_image_graph_with_its_settings(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "model")
    changed(folder / "model.onnx", lambda model: renamed(model, "pixel_values", "input.1"))
    graph = take_image(folder)
    pixels = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(graph(pixel_values=pixels).logits, tiny_resnet()(pixel_values=pixels).logits)
    assert graph.inputs == ("pixel_values",)
    assert load_model(save_model(graph, tmp_path / "saved"), "image").config.id2label == dict(enumerate(LABELS))
    grey = ImageSettings(width=16, height=16, mode="L", mean=(0.5,), std=(0.25,))
    with pytest.raises(CheckpointError, match=r"does not take images of the shape \[1, 16, 16\]; set \[image\]"):
        take_image(folder, grey)
    changed(folder / "model.onnx", lambda model: sized(model, 1, 3))
    with pytest.raises(CheckpointError, match="takes images of 3 channels, and those of mode L have 1"):
        take_image(folder, grey)
    changed(folder / "model.onnx", lambda model: sized(model, 2, 32))
    with pytest.raises(CheckpointError, match="images with a height of 32 pixels, and they would have 16; set height"):
        take_image(folder)
    changed(folder / "model.onnx", lambda model: sized(model, 1, 16))
    with pytest.raises(CheckpointError, match="takes images of 16 channels, and 1 or 3 must stand in the second"):
        take_image(folder)
