"""Inference requests in JSON and with binary tensors: what is read, and what is refused with a sentence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidInputError, MalformedError
from serving.http.large_json import SMALL_BYTES, LongString
from serving.model.text import MAX_CHARACTERS
from serving.oip.asking import HEADER_LENGTH, InferRequest, read_request
from serving.oip.tensors import packed


def text(*values: str, **more: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [len(values)], "datatype": "BYTES", "data": list(values), **more}


def read(body: object, tail: bytes | None = None, length: str | None = None) -> InferRequest:
    data = json.dumps(body).encode()
    stated = str(len(data)) if tail is not None and length is None else length
    return asyncio.run(read_request(data + (tail or b""), stated))


def binary(size: object, **more: Any) -> dict[str, Any]:
    given = {"name": "text", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": size}, **more}
    return {"inputs": [given]}


TWO = packed([b"a", b"bc"])


def test_json_holds_texts_id_and_parameters() -> None:
    asked = read({"id": "one", "parameters": {"budget_ms": 20}, "inputs": [text("a", "b")]})
    assert (asked.id, asked.budget_ms, asked.inputs) == ("one", 20, {"text": ["a", "b"]})
    assert (asked.outputs, asked.binary, asked.priority) == (None, False, None)


def test_binary_tensors_stand_behind_the_json_in_the_order_of_the_inputs() -> None:
    one = binary(len(TWO))["inputs"][0]
    asked = read({"inputs": [one, {**one, "name": "text_pair"}]}, TWO + packed([b"x", b"yz"]))
    assert asked.inputs == {"text": [b"a", b"bc"], "text_pair": [b"x", b"yz"]}
    mixed = read({"inputs": [text("p", "q", name="text_pair"), one]}, TWO)
    assert mixed.inputs == {"text_pair": ["p", "q"], "text": [b"a", b"bc"]}


def test_outputs_may_be_binary_one_by_one_or_all() -> None:
    outputs = [{"name": "label", "parameters": {"binary_data": True}}, {"name": "scores"}]
    assert read({"inputs": [text("a")], "outputs": outputs}).outputs == {"label": True, "scores": False}
    asked = read({"inputs": [text("a")], "outputs": outputs, "parameters": {"binary_data_output": True}})
    assert asked.outputs == {"label": True, "scores": True}
    assert read({"inputs": [text("a")], "outputs": [], "parameters": {"binary_data_output": True}}).binary


@pytest.mark.parametrize(
    ("parameters", "budget_ms"),
    [
        ({}, None),
        ({"budget_ms": 30}, 30),
        ({"budget_ms": "30.5"}, 30.5),
        ({"timeout": 20_000}, 20),
        ({"timeout": 20_000, "budget_ms": 30}, 20),
    ],
)
def test_the_smallest_budget_counts(parameters: dict[str, Any], budget_ms: float | None) -> None:
    assert read({"inputs": [text("a")], "parameters": parameters}).budget_ms == budget_ms


@pytest.mark.parametrize("sent", [{"budget_ms": 0}, {"budget_ms": [1]}, {"budget_ms": True}, {"timeout": 2_000_000}])
def test_a_bad_budget_is_refused_by_its_name(sent: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"^parameters\.\w+: must be a positive number of milliseconds"):
        _ = read({"inputs": [text("a")], "parameters": sent}).budget_ms


@pytest.mark.parametrize(("sent", "meant"), [("high", "high"), (1, "high"), (0, "normal"), (7, "normal"), ("x", "x")])
def test_a_priority_may_be_a_number_as_tritons_clients_send_it(sent: object, meant: str) -> None:
    assert read({"inputs": [text("a")], "parameters": {"priority": sent}}).priority == meant


def test_a_text_that_is_too_long_is_not_made_a_string() -> None:
    sent = ["x" * MAX_CHARACTERS, "y" * (SMALL_BYTES + 1)]
    for data in (sent, [[each] for each in sent]):
        first, second = read({"inputs": [text("a", "b", data=data)]}).inputs["text"]
        assert first == sent[0]
        assert isinstance(second, LongString)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "body: must be an object, got a list"),
        ({"input": []}, "body: may have the keys id, inputs, outputs, parameters, got others too"),
        ({}, "inputs: must be a list, got null"),
        ({"inputs": [1]}, r"inputs\[0\]: must be an object, got a number"),
        ({"inputs": [text("a")], "id": 5}, "id: must be a string, got a number"),
        ({"inputs": [text("a")], "parameters": {"bugdet_ms": 5}}, "parameters: may have the keys binary_data_output"),
        ({"inputs": [text("a")], "parameters": []}, "parameters: must be an object, got a list"),
        ({"inputs": [text("a", parameters=False)]}, r"inputs\[0\]\.parameters: must be an object, got a boolean"),
        ({"inputs": [text("a")], "outputs": {}}, "outputs: must be a list, got an object"),
        ({"inputs": [text("a", name=3)]}, r"inputs\[0\]\.name: must be a string"),
        ({"inputs": [text("a"), text("a")]}, r"inputs\[1\]\.name: must be there once"),
        ({"inputs": [text("a", datatype="FP32")]}, r"inputs\[0\]\.datatype: must be BYTES"),
        ({"inputs": [text("a", shape=[2])]}, r"inputs\[0\]\.data: must have as many elements as the shape says, 2"),
        ({"inputs": [text("a", parameters={"size": 1})]}, r"inputs\[0\]\.parameters: may have the keys"),
        ({"inputs": [text("a")], "outputs": [{}]}, r"outputs\[0\]\.name: must be a string"),
        (
            {"inputs": [text("a")], "outputs": [{"name": "label", "parameters": {"classification": 2}}]},
            r"outputs\[0\]\.parameters: may have the keys binary_data, got others",
        ),
        (
            {"inputs": [text("a")], "parameters": {"binary_data_output": 1}},
            r"parameters\.binary_data_output: must be true or false, got a number",
        ),
    ],
)
def test_what_breaks_a_rule_is_told_so(body: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{said}"):
        read(body)


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        (binary(len(TWO)), None),
        (binary(len(TWO)), TWO + b"x"),
        (binary(len(TWO) + 1), TWO),
        (binary(len(TWO) - 1), TWO),
        (binary(-1), TWO),
        (binary(True), TWO),
        (binary("9"), TWO),
        (binary(len(TWO), data=["a", "b"]), TWO),
        (binary(0), b""),
        ({"inputs": [text("a")]}, b"x"),
    ],
)
def test_sizes_that_do_not_fit_are_malformed(body: object, tail: bytes | None) -> None:
    with pytest.raises(MalformedError):
        read(body, tail)


@pytest.mark.parametrize("length", ["0", "-1", "x", "", "99999", "²", pytest.param("9" * 5_000, id="many")])
def test_a_length_of_the_json_that_cannot_be_is_malformed(length: str) -> None:
    with pytest.raises(MalformedError, match=f"^{HEADER_LENGTH}: must be the number of bytes of the JSON"):
        read({"inputs": [text("a")]}, b"", length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["inputs", "outputs", "name", "shape", "data", "datatype", "parameters", "id"]), inner
        )
    ),
    max_leaves=12,
)


@given(body=JSON, tail=st.none() | st.binary(max_size=20), length=st.none() | st.integers(-2, 200).map(str))
def test_whatever_comes_is_read_or_refused(body: object, tail: bytes | None, length: str | None) -> None:
    try:
        asked = read(body, tail, length)
    except InvalidInputError:
        return
    assert all(asked.inputs.values()), "no input is empty"


@given(data=st.binary(max_size=80), length=st.none() | st.integers(-2, 90).map(str))
def test_whatever_bytes_come_are_read_or_refused(data: bytes, length: str | None) -> None:
    with pytest.raises(InvalidInputError):
        asyncio.run(read_request(data, length))


def test_null_is_no_choice_of_bytes() -> None:
    outputs = [{"name": "label", "parameters": {"binary_data": None}}]
    assert read({"inputs": [text("a")], "outputs": outputs}).outputs == {"label": False}
    asked = read({"inputs": [text("a")], "outputs": outputs, "parameters": {"binary_data_output": True}})
    assert asked.outputs == {"label": True}
    assert not read({"inputs": [text("a")], "parameters": {"binary_data_output": None}}).binary
