"""What other servers may say over REST, and what is no answer. tests/serving/expert/test_other_server.py asks one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from serving.errors import MalformedError
from serving.expert.connection import Reply
from serving.expert.graph_form import TensorForm
from serving.expert.over_http import read_logits, read_metadata


def reply(head: Any, tail: bytes = b"", length: bytes | None = None) -> Reply:
    text = head if isinstance(head, bytes) else orjson.dumps(head)
    headers = {b"inference-header-content-length": length or str(len(text)).encode()} if tail or length else {}
    return Reply(200, text + tail, headers)


def output(**more: Any) -> dict[str, Any]:
    return {"name": "logits", "datatype": "FP32", "shape": [1, 2], **more}


def test_logits_are_found_among_other_outputs() -> None:
    other = {"name": "hidden", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}
    binary = output(parameters={"binary_data_size": 8})
    tail = bytes(4) + b"\0\0\x80?\0\0\0@"
    assert read_logits(reply({"outputs": [other, binary]}, tail)).tolist() == [[1.0, 2.0]]
    assert read_logits(reply({"outputs": [output(data=[1, 2.0])]})).tolist() == [[1.0, 2.0]]
    assert read_logits(reply({"outputs": [output(data=[[1, 2.0]])]})).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "sent",
    [
        reply(b"<html>"),
        reply(b"[]"),
        reply({}),
        reply({"outputs": []}),
        reply({"outputs": [None]}),
        reply({"outputs": [output()]}),
        reply({"outputs": [output(data=[1.0])]}),
        reply({"outputs": [output(data=["a", "b"])]}),
        reply({"outputs": [output(data=[1.0, 2.0], shape=None)]}),
        reply({"outputs": [output(data=[1.0, 2.0], datatype="FP16")]}),
        reply({"outputs": [output(data=[1.0, 2.0], name="scores")]}),
        reply({"outputs": [output(parameters={"binary_data_size": 8})]}, b"1234"),
        reply({"outputs": [output(parameters={"binary_data_size": "8"})]}, b"12345678"),
        reply({"outputs": [output(data=[1.0, 2.0])]}, length=b"many"),
        reply({"outputs": [output(data=[1.0, 2.0])]}, length=b"3"),
    ],
    ids=lambda sent: sent.body[:60].decode(errors="replace"),
)
def test_what_has_no_logits_is_no_answer(sent: Reply) -> None:
    with pytest.raises(MalformedError, match=r"^reply: must "):
        read_logits(sent)


def test_metadata_may_be_short() -> None:
    said = read_metadata({"name": "m"})
    assert (said.versions, said.platform, said.inputs, said.outputs, said.parameters) == ([], "", [], [], {})


def test_metadata_may_have_parameters_or_properties() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 3], "parameters": {}}
    said = read_metadata({"versions": [1], "inputs": [tensor], "properties": {"digest": "1a", "size": 3}})
    assert said.versions == ["1"]
    assert said.inputs == [TensorForm("x", "FP32", (-1, 3))]
    assert said.parameters == {"digest": "1a"}
    assert read_metadata({"parameters": {"digest": "2b"}, "properties": {"digest": "1a"}}).parameters == {
        "digest": "2b"
    }


@pytest.mark.parametrize(
    "said",
    [
        {"versions": "1"},
        {"inputs": {"x": 1}},
        {"inputs": [{"name": "x", "datatype": "FP32"}]},
        {"outputs": [{"name": "x", "datatype": "FP32", "shape": ["any"]}]},
        {"parameters": ["digest"]},
    ],
    ids=str,
)
def test_what_is_no_metadata_is_malformed(said: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match=r"^metadata"):
        read_metadata(said)
