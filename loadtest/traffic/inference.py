"""Requests and answers of the Open Inference Protocol v2: as JSON, with binary tensors, and as messages of gRPC.

An answer is read into a dict of its outputs by name, as an answer of our own addresses has its fields.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import orjson

METHOD = "/inference.GRPCInferenceService/ModelInfer"
HEADER_LENGTH = b"inference-header-content-length"
LENGTH = struct.Struct("<I")
"""Stands before each element of BYTES."""
DTYPES = {"BOOL": "?", "FP32": "<f4"}

Inputs = Mapping[str, str | bytes]
"""One element for each input: a text, or the bytes of an image file."""


def infer_path(model: str) -> str:
    """Where a model takes requests over REST."""
    return f"/v2/models/{model}/infer"


def in_json(inputs: Inputs, budget_ms: float | None) -> bytes:
    """A request with its tensors in JSON, a file as base64."""
    tensors = [
        {**_head(name), "data": [base64.b64encode(value).decode() if isinstance(value, bytes) else value]}
        for name, value in inputs.items()
    ]
    return orjson.dumps({"inputs": tensors, "parameters": _budget(budget_ms)})


def with_tensors(inputs: Inputs, budget_ms: float | None) -> tuple[bytes, int]:
    """A request with its tensors behind the JSON, which asks for an answer of the same form; the JSON's length."""
    packed = [_packed(value) for value in inputs.values()]
    tensors = [
        {**_head(name), "parameters": {"binary_data_size": len(data)}}
        for name, data in zip(inputs, packed, strict=True)
    ]
    head = orjson.dumps({"inputs": tensors, "parameters": {**_budget(budget_ms), "binary_data_output": True}})
    return b"".join((head, *packed)), len(head)


def message(model: str, inputs: Inputs, budget_ms: float | None) -> bytes:
    """A ModelInferRequest with raw contents, as Triton's clients send them."""
    request = _messages().ModelInferRequest(
        model_name=model,
        inputs=[_head(name) for name in inputs],
        raw_input_contents=[_packed(value) for value in inputs.values()],
    )
    if budget_ms is not None:
        request.parameters["budget_ms"].double_param = budget_ms
    return bytes(request.SerializeToString())


def read_json(data: bytes) -> dict[str, object]:
    """The outputs of an answer in JSON. Raises an error where it is none, as the other two do."""
    return {output["name"]: _one(output["data"]) for output in orjson.loads(data)["outputs"]}


def read_tensors(data: bytes, json_bytes: int | None) -> dict[str, object]:
    """The outputs of an answer that has binary tensors behind so many bytes of JSON."""
    found = {}
    at = json_bytes or 0
    for output in orjson.loads(data[:json_bytes])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = _one(_unpacked(output["datatype"], data[at : at + size]))
        at += size
    return found


def read_message(data: bytes) -> dict[str, object]:
    """The outputs of a ModelInferResponse with raw contents."""
    try:
        response = _messages().ModelInferResponse.FromString(data)
    except _decode_error() as error:
        raise ValueError("no message of protobuf") from error
    return {
        output.name: _one(_unpacked(output.datatype, raw))
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


@cache
def _messages() -> Any:
    """The messages as NVIDIA's client has them. They are imported for who asks for gRPC: it takes a second."""
    from tritonclient.grpc import service_pb2

    return service_pb2


def _decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError

    error: type[Exception] = DecodeError
    return error


def _head(name: str) -> dict[str, object]:
    return {"name": name, "shape": [1], "datatype": "BYTES"}


def _budget(budget_ms: float | None) -> dict[str, object]:
    return {} if budget_ms is None else {"budget_ms": budget_ms}


def _packed(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return LENGTH.pack(len(data)) + data


def _unpacked(datatype: str, data: bytes) -> list[object]:
    if datatype in DTYPES:
        values: list[object] = np.frombuffer(data, DTYPES[datatype]).tolist()
        return values
    elements: list[object] = []
    at = 0
    while at < len(data):
        begin = at + LENGTH.size
        at = begin + LENGTH.unpack_from(data, at)[0]
        elements.append(data[begin:at].decode())
    return elements


def _one(elements: list[object]) -> object:
    """The element of an output that has one for each item; all of one that has one for each label."""
    return elements[0] if len(elements) == 1 else elements
