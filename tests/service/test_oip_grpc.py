"""The Open Inference Protocol over gRPC, against the served process and by NVIDIA's client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.server import PATIENT_MS, Server, in_full
from tests.service.patience import in_full_by
from tests.service.test_api import TEXTS, digit

BUDGET = {"budget_ms": PATIENT_MS}
TEXT = "where is my refund"


@pytest.fixture(scope="module")
def oip(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def tensor(name: str, values: list[Any]) -> triton.InferInput:
    return triton.InferInput(name, [len(values)], "BYTES").set_data_from_numpy(np.array(values, dtype=object))


def classified(client: triton.InferenceServerClient, given: triton.InferInput, **more: Any) -> triton.InferResult:
    return in_full_by(lambda: client.infer(given.name(), [given], parameters=BUDGET, **more))


def labels(result: triton.InferResult) -> list[str]:
    return [label.decode() for label in result.as_numpy("label")]


def test_the_server_and_its_models_are_live_and_ready(oip: triton.InferenceServerClient) -> None:
    assert oip.is_server_live()
    assert oip.is_server_ready()
    assert [oip.is_model_ready(name) for name in ("text", "tiny-text", "image")] == [True] * 3
    assert oip.get_server_metadata().name == "sieve"
    said = oip.get_model_metadata("tiny-text")
    assert [(each.name, each.datatype, list(each.shape)) for each in said.inputs] == [("text", "BYTES", [-1])]
    assert oip.is_model_ready("text", said.versions[0])


def test_texts_and_images_get_the_answers_of_our_own_addresses(
    oip: triton.InferenceServerClient, client: httpx.Client
) -> None:
    ours = in_full(client, "/classify_texts", json={"texts": TEXTS[:8], **BUDGET}).json()["answers"]
    result = classified(oip, tensor("text", TEXTS[:8]), request_id="mine")
    assert result.get_response().id == "mine"
    assert labels(result) == [answer["label"] for answer in ours]
    scores = [list(answer["scores"].values()) for answer in ours]
    assert result.as_numpy("scores") == pytest.approx(np.array(scores), abs=1e-3)
    files = [digit(place) for place in range(3)]
    address = f"/classify_image?budget_ms={PATIENT_MS}"
    images = [in_full(client, address, files={"image": file}).json()["label"] for file in files]
    assert labels(classified(oip, tensor("image", files))) == images


@pytest.mark.parametrize(
    ("model", "values", "status", "said"),
    [
        ("text", [" "], "INVALID_ARGUMENT", "text: must not be empty"),
        ("image", [b"no image"], "INVALID_ARGUMENT", "image: must be"),
        ("no-model", ["x"], "NOT_FOUND", "no model of this name is served here; use one of these: tiny-text, tiny-im"),
    ],
)
def test_errors_are_codes_and_sentences(
    oip: triton.InferenceServerClient, model: str, values: list[Any], status: str, said: str
) -> None:
    with pytest.raises(InferenceServerException, match=said) as raised:
        oip.infer(model, [tensor("text" if model == "no-model" else model, values)])
    assert raised.value.status() == f"StatusCode.{status}"


def test_a_deadline_is_a_budget_and_one_that_nobody_can_keep_is_exceeded(oip: triton.InferenceServerClient) -> None:
    given = tensor("text", [TEXT])
    assert labels(in_full_by(lambda: oip.infer("text", [given], client_timeout=5)))
    with pytest.raises(InferenceServerException) as raised:
        oip.infer("text", [given], client_timeout=-1)  # a deadline that has passed
    assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_a_call_can_be_cancelled_and_others_go_on(oip: triton.InferenceServerClient) -> None:
    ended, found = threading.Event(), []

    def done(result: Any, error: Any) -> None:
        found.append(error)
        ended.set()

    call = oip.async_infer("text", [tensor("text", [TEXT * 100] * 64)], done, parameters=BUDGET)
    call.cancel()
    assert ended.wait(60)
    # A machine that is quick may have answered already, or refused.
    assert found[0] is None or found[0].status() in ("StatusCode.CANCELLED", "StatusCode.RESOURCE_EXHAUSTED")
    assert labels(classified(oip, tensor("text", [TEXT])))


def test_many_at_once_get_their_own_answers(oip: triton.InferenceServerClient, client: httpx.Client) -> None:
    ours = in_full(client, "/classify_texts", json={"texts": TEXTS[:16], **BUDGET}).json()["answers"]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda text: labels(classified(oip, tensor("text", [text]))), TEXTS[:16]))
    assert got == [[answer["label"]] for answer in ours]


def test_metrics_count_them_and_the_log_says_the_port(
    oip: triton.InferenceServerClient, client: httpx.Client, server: Server
) -> None:
    classified(oip, tensor("text", [TEXT]))
    assert 'sieve_requests_total{endpoint="/inference.GRPCInferenceService/ModelInfer"' in client.get("/metrics").text
    assert f"gRPC, the Open Inference Protocol, on {server.grpc}" in server.log.read_text()
