"""Requests of the generator as the service reads them, and the service's answers as the generator reads them."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from loadtest.traffic import inference
from serving.oip.asking import InferRequest, read_request
from serving.oip.inference import InferResponse
from serving.oip.messages import answer, asked_by
from serving.oip.rest import HEADER_LENGTH, Written
from serving.oip.tensors import Tensor
from serving.protobuf import parsed
from serving.watch.record import RequestRecord
from tests.conftest import ROOT

PAIR = {"text": "it rains", "text_pair": "Wasser fällt"}
FILE = b"\x89PNG\0\xff"
TENSORS = [
    Tensor("label", "BYTES", [1], ["käse".encode()]),
    Tensor("confidence", "FP32", [1], np.array([0.75], np.float32)),
    Tensor("scores", "FP32", [1, 2], np.array([[0.75, 0.25]], np.float32)),
    Tensor("degraded", "BOOL", [1], np.array([False])),
]
FIELDS = {"label": "käse", "confidence": 0.75, "scores": [0.75, 0.25], "degraded": False}


def asked(form: str, inputs: inference.Inputs, budget_ms: float | None) -> InferRequest:
    """A request in this form, as the service reads it."""
    if form == "grpc":
        return asked_by(parsed("ModelInferRequest", inference.message("text", inputs, budget_ms)), None)
    if form == "oip-json":
        return asyncio.run(read_request(inference.in_json(inputs, budget_ms), None))
    body, json_bytes = inference.with_tensors(inputs, budget_ms)
    return asyncio.run(read_request(body, str(json_bytes)))


@pytest.mark.parametrize("form", ["oip-json", "oip-binary", "grpc"])
def test_the_service_reads_the_inputs_and_the_budget(form: str) -> None:
    got = asked(form, PAIR, 40.0)
    texts = {name: value.decode() if isinstance(value, bytes) else value for name, (value,) in got.inputs.items()}
    assert texts == PAIR
    assert got.budget_ms == 40
    assert got.binary == (form != "oip-json"), "an answer has the form of its request"
    assert asked(form, PAIR, None).budget_ms is None


def test_a_file_is_bytes_but_in_json() -> None:
    for form in ("oip-binary", "grpc"):
        assert list(asked(form, {"image": FILE}, None).inputs["image"]) == [FILE]
    assert list(asked("oip-json", {"image": FILE}, None).inputs["image"]) == [base64.b64encode(FILE).decode()]


def test_the_generator_reads_the_answers_of_all_forms() -> None:
    def written(binary: bool) -> Any:
        return Written().answer(InferResponse("text", "1", TENSORS, [binary] * 4), RequestRecord("/", "id"))

    assert inference.read_json(written(False).body) == FIELDS
    in_bytes = written(True)
    assert inference.read_tensors(in_bytes.body, int(in_bytes.headers[HEADER_LENGTH])) == FIELDS
    assert inference.read_message(answer(InferResponse("text", "1", TENSORS, [True] * 4), "id")) == FIELDS


def test_nothing_of_grpc_is_imported_before_it_is_asked_for() -> None:
    script = "import sys, loadtest.run; print({'grpc', 'tritonclient', 'google.protobuf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
