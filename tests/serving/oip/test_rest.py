"""The protocol's addresses over REST: JSON, binary tensors, errors, and what metrics count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from tritonclient.http import InferInput, InferRequestedOutput, InferResult

from serving.http.body import MAX_JSON_BYTES
from serving.load.admission import Admission
from serving.oip.asking import HEADER_LENGTH
from serving.oip.openapi import OipError, OipInferResponse, OipModelMetadata, OipReady, OipServerMetadata
from serving.oip.rest import METHODS, oip_endpoints
from serving.oip.tensors import packed
from serving.watch.metrics import Metrics
from tests.serving.asgi import get, post, routed
from tests.serving.conftest import sample
from tests.serving.http.test_api import SURE, UNSURE, both
from tests.serving.model.test_image import encoded, noise
from tests.serving.oip.models import VERSION, Service, model, models

INFER = "/v2/models/text/infer"


def app(metrics: Metrics, service: Service | None = None, **kinds: Any) -> Starlette:
    """The protocol's application over these models, without a fast path."""
    running = service or Service(metrics)
    kinds = kinds or {"text": model()}
    return routed(METHODS, oip_endpoints(models(**kinds), running.guard, running.classifying, running.readiness))


def text(*values: str, **more: Any) -> dict[str, Any]:
    given = {"name": "text", "shape": [len(values)], "datatype": "BYTES", "data": list(values)}
    return {"inputs": [given], **more}


def test_the_server_says_what_it_is_and_that_it_lives(metrics: Metrics) -> None:
    there = app(metrics)
    for address in ("/v2", "/v2/"):
        said = OipServerMetadata.model_validate(get(there, address).json())
        assert (said.name, said.extensions) == ("sieve", ["binary_tensor_data"])
    assert get(there, "/v2/health/live").json() == {"live": True}
    assert get(there, "/v2/health/ready").json() == {"ready": True}


def test_a_process_that_drains_is_not_ready_and_lives(metrics: Metrics, tmp_path: Path) -> None:
    there = app(metrics, Service(metrics, str(tmp_path / "drain")))
    (tmp_path / "drain").touch()
    reply = get(there, "/v2/health/ready")
    assert (reply.status_code, reply.json()) == (503, {"ready": False})
    reply = get(there, "/v2/models/text/ready")
    assert (reply.status_code, reply.json()) == (503, {"name": "text", "ready": False})
    assert get(there, "/v2/health/live").status_code == 200


@pytest.mark.parametrize("name", ["text", "sms-risk", f"text/versions/{VERSION}"])
def test_a_model_has_metadata_under_each_of_its_names(metrics: Metrics, name: str) -> None:
    there = app(metrics)
    said = OipModelMetadata.model_validate(get(there, f"/v2/models/{name}").json())
    assert (said.name, said.versions) == (name.partition("/")[0], [VERSION])
    ready = OipReady.model_validate(get(there, f"/v2/models/{name}/ready").json())
    assert (ready.name, ready.ready) == (said.name, True)
    assert post(there, f"/v2/models/{name}/infer", json=text(SURE)).json()["model_name"] == said.name


def test_what_is_not_there_is_404_in_the_protocols_form(metrics: Metrics) -> None:
    there = app(metrics)
    for method, address in (("GET", "nope"), ("GET", "text/versions/2/ready"), ("POST", "nope/infer")):
        reply = (get if method == "GET" else post)(there, f"/v2/models/{address}")
        assert (reply.status_code, set(reply.json())) == (404, {"error"})
        OipError.model_validate(reply.json())


def test_an_answer_in_json(metrics: Metrics) -> None:
    reply = post(app(metrics), INFER, json=text(SURE, UNSURE, id="mine"))
    body = reply.json()
    OipInferResponse.model_validate(body)
    assert (body["model_name"], body["model_version"], body["id"]) == ("text", VERSION, "mine")
    assert (reply.headers["x-request-id"], reply.headers["content-type"]) == ("mine", "application/json")
    outputs = {output["name"]: output for output in body["outputs"]}
    assert outputs["label"] == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "a"]}
    assert outputs["degraded"]["data"] == [False, True]
    assert (outputs["scores"]["shape"], len(outputs["scores"]["data"])) == ([2, 2], 4)
    assert outputs["confidence"]["data"][1] == 0.5
    parts = [part.partition(";")[0] for part in reply.headers["server-timing"].split(", ")]
    assert parts == ["admission", "read", "tokenise", "screen", "queue", "encode", "total"]


def test_an_answer_in_bytes_is_read_by_tritons_client(metrics: Metrics) -> None:
    outputs = [{"name": name, "parameters": {"binary_data": name != "stage"}} for name in ("scores", "label", "stage")]
    reply = post(app(metrics), INFER, json=text(SURE, outputs=outputs))
    length = int(reply.headers[HEADER_LENGTH])
    assert reply.headers["content-type"] == "application/octet-stream"
    result = InferResult.from_response_body(reply.content, header_length=length)
    assert result.as_numpy("label").tolist() == [b"a"]
    assert result.as_numpy("scores").shape == (1, 2)
    assert result.get_output("stage")["data"] == ["screen"]


def test_a_request_of_tritons_client_in_bytes_is_read(metrics: Metrics) -> None:
    from tritonclient.http import InferenceServerClient

    tensor = InferInput("text", [2, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[SURE], [UNSURE]], dtype=object))
    body, length = InferenceServerClient.generate_request_body([tensor], outputs=[InferRequestedOutput("label")])
    reply = post(app(metrics), INFER, content=body, headers={HEADER_LENGTH: str(length)})
    assert reply.status_code == 200
    result = InferResult.from_response_body(reply.content, header_length=int(reply.headers[HEADER_LENGTH]))
    assert result.as_numpy("label").tolist() == [b"a", b"a"]


def test_an_image_comes_in_bytes(metrics: Metrics) -> None:
    tail = packed([encoded(noise(8, 8))])
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}}
    head = json.dumps({"inputs": [given]}).encode()
    there = app(metrics, image=model("image", lambda _image: both(1.0)))
    reply = post(there, "/v2/models/digits/infer", content=head + tail, headers={HEADER_LENGTH: str(len(head))})
    assert reply.json()["outputs"][0]["data"] == ["a"]


def error(reply: httpx.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    return OipError.model_validate(reply.json()).error


def test_errors_have_the_protocols_form_and_our_sentences(metrics: Metrics) -> None:
    there = app(metrics)
    assert error(post(there, INFER, json=text(" ")), 400).startswith("text: must not be empty, got a string of white")
    assert "must be JSON" in error(post(there, INFER, content=b"{"), 400)
    assert "budget_ms" in error(post(there, INFER, json=text("a", parameters={"budget_ms": -1})), 400)
    assert "X-Priority" in error(post(there, INFER, json=text("a"), headers={"X-Priority": "x"}), 400)
    assert "do not compress" in error(post(there, INFER, content=b"", headers={"Content-Encoding": "gzip"}), 415)
    too_long = {"Content-Length": str(MAX_JSON_BYTES + 1)}
    assert "must have at most" in error(post(there, INFER, content=b"{}", headers=too_long), 413)


def test_a_failure_shows_no_cause(metrics: Metrics, logged: list[Any]) -> None:
    def fails(_content: Any) -> Any:
        raise ValueError("a secret")

    said = error(post(app(metrics, text=model("text", fails)), INFER, json=text(SURE)), 500)
    assert said == "the service failed on this request; its log has the cause under the request id"


def test_a_full_service_refuses_and_says_when_to_come_back(metrics: Metrics) -> None:
    service = Service(metrics)
    admission: Admission = service.guard._admission
    admission.in_flight = admission.max_in_flight
    reply = post(app(metrics, service), INFER, json=text(SURE))
    assert error(reply, 503).startswith("too many requests are in flight")
    assert reply.headers["retry-after"] == "1"
    metrics.flush()
    assert sample("sieve_shed_total", priority="normal", reason="limit") == 1


def test_requests_are_counted_by_kind_of_input_whatever_the_name(metrics: Metrics) -> None:
    there = app(metrics)
    for name in ("text", "sms-risk", f"sms-risk/versions/{VERSION}"):
        assert post(there, f"/v2/models/{name}/infer", json=text(SURE)).status_code == 200
    post(there, INFER, json=text(" "))
    metrics.flush()
    labels = {"endpoint": INFER, "stage": "screen", "model": "text-screen:1", "outcome": "ok"}
    assert sample("sieve_requests_total", **labels) == 3
    assert sample("sieve_requests_total", endpoint=INFER, stage="none", model="none", outcome="invalid") == 1


def test_addresses_of_requests_to_models_are_there_to_be_looked_up(metrics: Metrics) -> None:
    service = Service(metrics)
    there = oip_endpoints(models(text=model()), service.guard, service.classifying, service.readiness)
    exact = {address for address in there if address not in METHODS}
    names = ("text", "sms-risk")
    assert exact == {f"/v2/models/{name}{version}/infer" for name in names for version in ("", f"/versions/{VERSION}")}
