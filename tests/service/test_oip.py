"""The Open Inference Protocol over REST, against the served process and by NVIDIA's client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.server import PATIENT_MS, Server, in_full
from tests.service.patience import in_full_by
from tests.service.test_api import TEXTS, digit

BUDGET = {"budget_ms": PATIENT_MS}


@pytest.fixture(scope="module")
def oip(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=4) as client:
        yield client


def tensor(name: str, values: list[Any], *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, [len(values)], "BYTES")
    return made.set_data_from_numpy(np.array(values, dtype=object), binary_data=binary)


def classified(client: triton.InferenceServerClient, *inputs: triton.InferInput, **more: Any) -> triton.InferResult:
    """The answers of the model that is called as the first input is, which is asked until they are full."""
    return in_full_by(lambda: client.infer(inputs[0].name(), inputs, parameters=BUDGET, **more))


def test_the_server_and_its_models_are_live_and_ready(oip: triton.InferenceServerClient) -> None:
    assert oip.is_server_live()
    assert oip.is_server_ready()
    assert [oip.is_model_ready(name) for name in ("text", "tiny-text", "image", "no-model")] == [True] * 3 + [False]
    assert oip.get_server_metadata()["name"] == "sieve"


def test_metadata_has_the_digests_that_models_has(oip: triton.InferenceServerClient, client: httpx.Client) -> None:
    for kind, described in client.get("/models").json().items():
        if kind == "request_id":
            continue
        said = oip.get_model_metadata(f"tiny-{kind}")
        for role in ("screen", "expert"):
            assert said["parameters"][f"{role}_digest"] == described[role]["digest"]
        assert described["operating_point"]["tag"].endswith(f":{said['versions'][0]}")
        assert oip.is_model_ready(kind, said["versions"][0])


def test_texts_get_the_answers_of_our_own_address(oip: triton.InferenceServerClient, client: httpx.Client) -> None:
    ours = in_full(client, "/classify_texts", json={"texts": TEXTS[:8], **BUDGET}).json()["answers"]
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "scores", "stage")]
        for given in (outputs, None):
            result = classified(oip, tensor("text", TEXTS[:8], binary=binary), outputs=given, request_id="mine")
            assert result.get_response()["id"] == "mine"
            labels = result.as_numpy("label").tolist()
            assert [label.decode() if isinstance(label, bytes) else label for label in labels] == [
                answer["label"] for answer in ours
            ]
            theirs = [list(answer["scores"].values()) for answer in ours]
            assert result.as_numpy("scores") == pytest.approx(np.array(theirs), abs=1e-3)


def test_images_come_in_bytes_and_in_base64(oip: triton.InferenceServerClient, client: httpx.Client) -> None:
    files = [digit(place) for place in range(3)]
    ours = [
        in_full(client, f"/classify_image?budget_ms={PATIENT_MS}", files={"image": file}).json()["label"]
        for file in files
    ]
    result = classified(oip, tensor("image", files))
    assert [label.decode() for label in result.as_numpy("label")] == ours
    in_base64 = [base64.b64encode(file).decode() for file in files]
    given = {"name": "image", "shape": [3], "datatype": "BYTES", "data": in_base64}
    body = client.post("/v2/models/image/infer", json={"inputs": [given], "parameters": BUDGET}).json()
    assert body["outputs"][0]["data"] == ours


@pytest.mark.parametrize(
    ("model", "values", "said"),
    [
        ("text", [" "], "text: must not be empty"),
        ("image", [b"no image"], "image: must be"),
        ("no-model", ["x"], "no model of this name is served here; use one of these: tiny-text, tiny-image, text, im"),
    ],
)
def test_errors_are_sentences(oip: triton.InferenceServerClient, model: str, values: list[Any], said: str) -> None:
    name = "text" if model == "no-model" else model
    with pytest.raises(InferenceServerException, match=said) as raised:
        oip.infer(model, [tensor(name, values)])
    assert raised.value.status() == ("404" if model == "no-model" else "400")


def test_many_at_once_get_their_own_answers(server: Server, client: httpx.Client) -> None:
    ours = in_full(client, "/classify_texts", json={"texts": TEXTS[:16], **BUDGET}).json()["answers"]

    def ask(text: str) -> str:
        with triton.InferenceServerClient(server.url.removeprefix("http://")) as one:
            return str(classified(one, tensor("text", [text])).as_numpy("label")[0].decode())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, TEXTS[:16])) == [answer["label"] for answer in ours]


def test_metrics_count_them(oip: triton.InferenceServerClient, client: httpx.Client) -> None:
    classified(oip, tensor("text", ["where is my refund"]))
    assert 'sieve_requests_total{endpoint="/v2/models/text/infer"' in client.get("/metrics").text
    described = client.get("/docs.json").json()["paths"]
    assert "/v2/models/{name}/infer" in described
