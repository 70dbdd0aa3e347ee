"""The models by their names and versions, their metadata, and answers as tensors."""

from __future__ import annotations

import json

import pytest

from serving.cascade.cascade import StageAnswer
from serving.errors import InvalidInputError, NotServedError
from serving.model.answer import Answer
from serving.model.head import Sigmoid
from serving.oip.models import Item, metadata_of, outputs_of, tensors_of, wanted_of
from tests.serving.oip.models import VERSION, model, models


def item(label: str | tuple[str, ...] = "a", *, degraded: str | None = None, truncated: bool = False) -> Item:
    answer = Answer(label=label, confidence=0.75, margin=0.5, scores=(0.75, 0.25))
    stage = StageAnswer(answer=answer, stage="screen", escalated=degraded is not None, degraded=degraded)
    return Item(answer, stage, truncated)


def test_a_cascade_is_found_by_its_kind_and_by_its_own_name() -> None:
    text, image = model(), model("image")
    there = models(text=text, image=image)
    assert there.find("text") is there.find("sms-risk") is there.find("sms-risk", VERSION) is text
    assert there.find("image") is there.find("digits", "") is image


def test_a_cascade_of_texts_called_image_does_not_hide_the_one_for_images() -> None:
    text, image = model(), model("image")
    text.name = "image"
    there = models(text=text, image=image)
    assert (there.find("image"), there.find("text")) == (image, text)


def test_each_of_several_cascades_is_found_by_its_name_and_the_first_by_its_kind() -> None:
    first, second = model(), model()
    second.name = "intents"
    there = models(first=first, second=second)
    assert list(there.by_name) == ["sms-risk", "intents", "text"]
    assert (there.find("text"), there.find("intents")) == (first, second)
    with pytest.raises(NotServedError, match=r"use one of these: sms-risk, intents, text$"):
        there.find("image")


def test_what_is_not_there_is_told_what_is() -> None:
    there = models(text=model())
    with pytest.raises(NotServedError, match=r"^no model of this name is served here; use one of these: sms-risk, te"):
        there.find("digits")
    with pytest.raises(NotServedError, match=r"^no such version of text is served here; .* ask for v7$"):
        there.find("text", "1")


def test_metadata_names_tensors_labels_and_digests() -> None:
    metadata = metadata_of("sms-risk", model())
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("sms-risk", [VERSION], "sieve_onnx")
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "confidence", "datatype": "FP32", "shape": [-1]},
        {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "stage", "datatype": "BYTES", "shape": [-1]},
        {"name": "escalated", "datatype": "BOOL", "shape": [-1]},
        {"name": "degraded", "datatype": "BOOL", "shape": [-1]},
        {"name": "truncated", "datatype": "BOOL", "shape": [-1]},
        {"name": "cached", "datatype": "BOOL", "shape": [-1]},
    ]
    parameters = metadata["parameters"]
    assert json.loads(parameters.pop("labels")) == ["a", "b"]
    assert parameters == {
        "screen": "text-screen:1",
        "expert": "text-expert:1",
        "screen_digest": "a1",
        "expert_digest": "b2",
    }


def test_a_cascade_of_pairs_has_two_inputs_and_one_of_label_sets_an_output_for_sets() -> None:
    assert [entry["name"] for entry in metadata_of("x", model(pairs=True))["inputs"]] == ["text", "text_pair"]
    assert [entry["name"] for entry in metadata_of("x", model("image"))["inputs"]] == ["image"]
    sets = model(screen_head=Sigmoid((0.0, 0.0)))
    assert outputs_of(sets)[0] == {"name": "labels", "datatype": "BOOL", "shape": [-1, 2]}
    (tensor,) = tensors_of(sets, [item(("b",)), item(())], ["labels"])
    assert (tensor.shape, tensor.values.tolist()) == ([2, 2], [[False, True], [False, False]])


def test_answers_are_tensors_of_all_items() -> None:
    items = [item("a"), item("b", degraded="deadline", truncated=True)]
    whole = model()
    tensors = {tensor.name: tensor for tensor in tensors_of(whole, items, wanted_of(whole, None))}
    assert list(tensors) == [output["name"] for output in outputs_of(whole)]
    assert tensors["label"].values == [b"a", b"b"]
    assert tensors["stage"].values == [b"screen", b"screen"]
    assert tensors["scores"].values.tolist() == [[0.75, 0.25], [0.75, 0.25]]
    assert tensors["confidence"].values.tolist() == [0.75, 0.75]
    for name in ("escalated", "degraded", "truncated"):
        assert tensors[name].values.tolist() == [False, True]


def test_outputs_that_are_asked_for_keep_their_order() -> None:
    assert wanted_of(model(), {"stage": False, "label": True}) == ["stage", "label"]
    with pytest.raises(InvalidInputError, match=r"^outputs: may be label, confidence, .*, got another name; leave"):
        wanted_of(model(), {"labels": False})
