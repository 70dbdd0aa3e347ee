"""A text or an image as a request: over our own addresses, or over the Open Inference Protocol in one of its forms."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from loadtest.traffic import inference
from loadtest.traffic.connections import Response
from loadtest.traffic.reply import read_answer

TEXT_PATH, IMAGE_PATH = "/classify_text", "/classify_image"
LONG_CHARACTERS = 160
Encoding = Literal["raw", "multipart", "json"]
ENCODINGS: tuple[Encoding, ...] = ("raw", "multipart", "json")
Protocol = Literal["rest", "oip-json", "oip-binary", "grpc"]
PROTOCOLS: tuple[Protocol, ...] = ("rest", "oip-json", "oip-binary", "grpc")
"""Our own addresses; the Open Inference Protocol in JSON, with binary tensors, and over gRPC."""
BOUNDARY = b"sieve-loadtest-boundary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How items are sent: a protocol, over `rest` an encoding of images, over `grpc` a server as HOST:PORT."""

    protocol: Protocol = "rest"
    encoding: Encoding = "raw"
    grpc: str = ""


OWN = Way()
"""Our own addresses, and images as raw bodies."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. `shape`: its class in the mix, like "short, easy". `label`: the true one, where it is known.

    `json_bytes`: how much of the body is JSON, where binary tensors follow it. `grpc`: the server of a call over gRPC,
    whose message the body is.
    """

    path: str
    body: bytes
    content_type: str
    shape: str
    label: str | None = None
    protocol: Protocol = "rest"
    json_bytes: int | None = None
    grpc: str = ""


def text_sample(item: Mapping[str, str], way: Way, budget_ms: float | None, label: str | None = None) -> Sample:
    """A text, or a pair of texts, by the names of the fields."""
    shape = "long" if sum(map(len, item.values())) >= LONG_CHARACTERS else "short"
    if way.protocol != "rest":
        return _inference_sample("text", item, way, budget_ms, shape, label)
    budget = {} if budget_ms is None else {"budget_ms": budget_ms}
    return Sample(TEXT_PATH, orjson.dumps({**item, **budget}), "application/json", shape, label)


def image_sample(data: bytes, way: Way, budget_ms: float | None) -> Sample:
    """An image file; over our own addresses as a raw body, as a form, or as base64 in JSON."""
    if way.protocol != "rest":
        return _inference_sample("image", {"image": data}, way, budget_ms, "image", None)
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    path = IMAGE_PATH if budget_ms is None else f"{IMAGE_PATH}?budget_ms={budget_ms:g}"
    if way.encoding == "raw":
        return Sample(path, data, kind, "image")
    if way.encoding == "multipart":
        head = b'Content-Disposition: form-data; name="image"; filename="image"\r\nContent-Type: '
        body = b"--%b\r\n%b%b\r\n\r\n%b\r\n--%b--\r\n" % (BOUNDARY, head, kind.encode(), data, BOUNDARY)
        return Sample(path, body, f"multipart/form-data; boundary={BOUNDARY.decode()}", "image")
    body = orjson.dumps({"image": base64.b64encode(data).decode()})
    return Sample(path, body, "application/json", "image")


def read(sample: Sample, response: Response) -> dict[str, object] | None:
    """The fields of the answer to a sample; None where the body is no answer."""
    if sample.protocol == "rest":
        return read_answer(response.body)
    try:
        match sample.protocol:
            case "oip-json":
                return inference.read_json(response.body)
            case "oip-binary":
                return inference.read_tensors(response.body, response.json_bytes)
            case "grpc":
                return inference.read_message(response.body)
    except (ValueError, LookupError, TypeError, struct.error):
        return None


def _inference_sample(
    model: str, inputs: inference.Inputs, way: Way, budget_ms: float | None, shape: str, label: str | None
) -> Sample:
    path = inference.infer_path(model)
    match way.protocol:
        case "oip-binary":
            body, json_bytes = inference.with_tensors(inputs, budget_ms)
            return Sample(path, body, "application/octet-stream", shape, label, "oip-binary", json_bytes)
        case "grpc":
            body = inference.message(model, inputs, budget_ms)
            return Sample(inference.METHOD, body, "application/grpc", shape, label, "grpc", grpc=way.grpc)
        case _:
            body = inference.in_json(inputs, budget_ms)
            return Sample(path, body, "application/json", shape, label, "oip-json")
