"""Items as requests, in every way to send them, and what of a response is no answer."""

from __future__ import annotations

import base64
import io
import json
from email import message_from_bytes

import orjson
import pytest
from PIL import Image

from loadtest.traffic.connections import Response
from loadtest.traffic.inference import METHOD
from loadtest.traffic.sample import ENCODINGS, OWN, Protocol, Sample, Way, image_sample, read, text_sample
from loadtest.traffic.workload import generated_jpeg

GRPC = Way(protocol="grpc", grpc="127.0.0.1:8001")


def test_an_image_is_the_same_in_every_encoding() -> None:
    data = generated_jpeg(5)
    assert Image.open(io.BytesIO(data)).size == (256, 256)
    raw, form, in_json = (image_sample(data, Way(encoding=encoding), 40) for encoding in ENCODINGS)
    assert {s.path for s in (raw, form, in_json)} == {"/classify_image?budget_ms=40"}
    assert (raw.body, raw.content_type) == (data, "image/jpeg")
    assert base64.b64decode(json.loads(in_json.body)["image"]) == data
    whole = message_from_bytes(b"Content-Type: " + form.content_type.encode() + b"\r\n\r\n" + form.body)
    (part,) = whole.get_payload()
    assert part.get_param("name", header="content-disposition") == "image"
    assert part.get_payload(decode=True) == data
    assert len(raw.body) < len(form.body) < len(in_json.body)
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    assert image_sample(png.getvalue(), OWN, None).content_type == "image/png"


@pytest.mark.parametrize("protocol", ["oip-json", "oip-binary"])
def test_over_the_open_protocol_each_kind_goes_to_its_model(protocol: Protocol) -> None:
    way = Way(protocol=protocol)
    text, image = text_sample({"text": "x" * 160}, way, 40, "ham"), image_sample(b"a file", way, None)
    assert (text.path, image.path) == ("/v2/models/text/infer", "/v2/models/image/infer")
    assert (text.shape, text.label, image.shape) == ("long", "ham", "image")
    for sample in (text, image):
        assert sample.protocol == protocol
        assert (sample.json_bytes is None) == (protocol == "oip-json")
        assert orjson.loads(sample.body[: sample.json_bytes])["inputs"][0]["shape"] == [1]


def test_a_call_over_grpc_names_its_server() -> None:
    sample = text_sample({"text": "a"}, GRPC, 40)
    assert (sample.path, sample.grpc, sample.shape) == (METHOD, GRPC.grpc, "short")
    assert b"text" in sample.body


def sent(protocol: Protocol) -> Sample:
    return Sample("/", b"", "", "short", protocol=protocol)


@pytest.mark.parametrize("protocol", ["rest", "oip-json", "oip-binary", "grpc"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"outputs":[{"name":"label"}]}', b'{"outputs":3}'])
def test_what_is_no_answer_is_read_as_none(protocol: Protocol, body: bytes) -> None:
    response = Response(200, "", body, len(body))
    if protocol == "rest" and body.startswith(b"{"):
        assert read(sent(protocol), response) == json.loads(body)
    elif protocol == "grpc" and not body:
        assert read(sent(protocol), response) == {}, "an empty message is one of protobuf"
    else:
        assert read(sent(protocol), response) is None


def test_tensors_that_are_cut_off_are_no_answer() -> None:
    head = {"outputs": [{"name": "label", "datatype": "BYTES", "parameters": {"binary_data_size": 3}}]}
    body = orjson.dumps(head)
    assert read(sent("oip-binary"), Response(200, "", body + b"\1\0\0", len(body))) is None
    assert read(sent("oip-binary"), Response(200, "", body + b"\1\0\0", None)) is None
