"""The messages over gRPC: the published ones, as another client library has them, and what is read from them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as theirs

from serving.errors import InvalidInputError, MalformedError
from serving.oip.inference import InferResponse
from serving.oip.messages import answer, asked_by, metadata
from serving.oip.tensors import Tensor, packed
from serving.protobuf import new, parsed
from tests.serving.oip.models import model

VALUES = st.lists(st.binary(max_size=20), min_size=1, max_size=5)
PARAMETER = st.one_of(
    st.builds(lambda value: {"bool_param": value}, st.booleans()),
    st.builds(lambda value: {"int64_param": value}, st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda value: {"string_param": value}, st.text(max_size=5)),
    st.builds(lambda value: {"double_param": value}, st.floats(allow_nan=False)),
    st.builds(lambda value: {"uint64_param": value}, st.integers(0, 2**64 - 1)),
)


@given(values=VALUES, raw=st.booleans(), parameter=PARAMETER, request_id=st.text(max_size=8))
def test_a_request_is_the_same_bytes_for_both(
    values: list[bytes], raw: bool, parameter: dict[str, Any], request_id: str
) -> None:
    made: dict[str, Any] = {
        "model_name": "text",
        "id": request_id,
        "parameters": {"one": parameter},
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(values)]}],
    }
    if raw:
        made["raw_input_contents"] = [packed(values)]
    else:
        made["inputs"][0]["contents"] = {"bytes_contents": values}
    parameters = {"one": theirs.InferParameter(**parameter)}
    sent = theirs.ModelInferRequest(**{**made, "parameters": parameters}).SerializeToString()
    assert parsed("ModelInferRequest", sent).SerializeToString(deterministic=True) == sent
    ours = {"one": new("InferParameter", **parameter)}
    assert new("ModelInferRequest", **{**made, "parameters": ours}).SerializeToString(deterministic=True) == sent


@given(values=VALUES, raw=st.booleans())
def test_elements_come_as_bytes_either_way(values: list[bytes], raw: bool) -> None:
    asked = asked_by(request(values, raw=raw), None)
    assert (asked.inputs, asked.binary, asked.outputs) == ({"text": values}, raw, None)


def request(values: list[bytes], *, raw: bool = False, **more: Any) -> Any:
    tensor: dict[str, Any] = {"name": "text", "datatype": "BYTES", "shape": [len(values)]}
    if not raw:
        tensor["contents"] = {"bytes_contents": values}
    tensor |= more.pop("tensor", {})
    fields = {"inputs": [tensor], "raw_input_contents": [packed(values)] if raw else [], **more}
    return new("ModelInferRequest", model_name="text", **fields)


def parameters(**values: Any) -> dict[str, Any]:
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    return {name: new("InferParameter", **{kinds[type(value)]: value}) for name, value in values.items()}


def test_parameters_outputs_and_the_deadline_are_read() -> None:
    outputs = [{"name": "label"}, {"name": "scores"}]
    asked = asked_by(request([b"a"], id="one", outputs=outputs, parameters=parameters(budget_ms=30, priority=1)), 40)
    assert (asked.id, asked.budget_ms, asked.priority) == ("one", 30, "high")
    assert asked.outputs == {"label": False, "scores": False}
    assert asked_by(request([b"a"], parameters=parameters(timeout=90_000)), 40).budget_ms == 40
    assert asked_by(request([b"a"], raw=True, outputs=outputs), None).outputs == {"label": True, "scores": True}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (request([b"a"], tensor={"datatype": "FP32"}), r"inputs\[0\]\.datatype: must be BYTES"),
        (request([b"a"], tensor={"shape": [2]}), r"inputs\[0\]\.contents\.bytes_contents: must have as many elements"),
        (request([b"a"], tensor={"shape": []}), r"inputs\[0\]\.shape: must be \[n\] or \[n, 1\]"),
        (request([b"a"], tensor={"name": ""}), r"inputs\[0\]\.name: must be a string"),
        (request([b"a"], raw=True, tensor={"shape": [2]}), r"raw_input_contents\[0\]: must be 2 elements"),
        (request([b"a"], raw=True, raw_input_contents=[b"", b""]), "raw_input_contents: must be one for each of 1 inp"),
        (request([b"a"], raw_input_contents=[packed([b"a"])]), r"inputs\[0\]\.contents: must be left out beside raw"),
        (request([b"a"], parameters=parameters(bugdet_ms=5)), "parameters: may have the keys binary_data_output, budg"),
        (request([b"a"], outputs=[{"name": "label"}] * 2), r"outputs\[1\]\.name: must be there once"),
        (
            request([b"a"], outputs=[{"name": "label", "parameters": parameters(classification=3)}]),
            r"outputs\[0\]\.parameters: may have the keys binary_data",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(message: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{said}"):
        asked_by(message, None)


@given(data=st.binary(max_size=60))
def test_whatever_bytes_come_are_a_message_or_malformed(data: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        asked_by(parsed("ModelInferRequest", data), None)


def test_bytes_that_are_no_message_are_malformed() -> None:
    with pytest.raises(MalformedError, match=r"^message: must be a ModelInferRequest of protobuf, got other b.*"):
        parsed("ModelInferRequest", b"\xff")


@pytest.mark.parametrize("raw", [True, False])
def test_an_answer_is_read_by_another_library(raw: bool) -> None:
    tensors = [
        Tensor("label", "BYTES", [2], [b"a", b"bc"]),
        Tensor("scores", "FP32", [2, 2], np.array([[0.25, 0.75], [1, 0]], dtype=np.float32)),
        Tensor("degraded", "BOOL", [2], np.array([True, False])),
    ]
    data = answer(InferResponse("text", "v7", tensors, [raw] * 3), "one")
    got = theirs.ModelInferResponse.FromString(data)
    assert (got.model_name, got.model_version, got.id) == ("text", "v7", "one")
    assert [list(output.shape) for output in got.outputs] == [[2], [2, 2], [2]]
    if raw:
        assert list(got.raw_output_contents) == [tensor.packed() for tensor in tensors]
    else:
        label, scores, degraded = (output.contents for output in got.outputs)
        assert list(label.bytes_contents) == [b"a", b"bc"]
        assert list(scores.fp32_contents) == [0.25, 0.75, 1, 0]
        assert list(degraded.bool_contents) == [True, False]


def test_metadata_has_what_the_json_has() -> None:
    got = metadata("sms-risk", model())
    assert (got.name, list(got.versions)) == ("sms-risk", ["v7"])
    assert got.parameters["screen_digest"].string_param == "a1"
    other = theirs.ModelMetadataResponse.FromString(got.SerializeToString())
    assert [tensor.name for tensor in other.inputs] == ["text"]
    assert list(other.outputs[2].shape) == [-1, 2]
