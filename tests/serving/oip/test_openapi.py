"""The protocol's part of the OpenAPI document: the published one's paths and fields, and what the service answers."""

from __future__ import annotations

from typing import Any

import pytest

from serving.http.openapi import openapi
from serving.oip.openapi import oip_document
from serving.oip.rest import METHODS
from tests.serving.oip.models import VERSION, model, models

# Paths and fields of open_inference_rest.yaml at github.com/kserve/open-inference-protocol; the fields that are
# required there stand first.
PUBLISHED_PATHS = {
    "/v2/health/live",
    "/v2/health/ready",
    "/v2",
    "/v2/models/{name}/versions/{version}/ready",
    "/v2/models/{name}/versions/{version}",
    "/v2/models/{name}/versions/{version}/infer",
}
PUBLISHED = {
    "OipServerMetadata": ("name version extensions", ""),
    "OipModelMetadata": ("name platform", "versions inputs outputs"),
    "OipTensorMetadata": ("name datatype shape", ""),
    "OipInferRequest": ("inputs", "id parameters outputs"),
    "OipInput": ("name shape datatype", "parameters data"),  # data is required only without binary tensors
    "OipRequestedOutput": ("name", "parameters"),
    "OipOutput": ("name shape datatype", "parameters data"),
    "OipInferResponse": ("model_name outputs", "model_version id"),
    "OipError": ("error", ""),
}
DOCUMENT = oip_document(models(text=model(), image=model("image")))


def test_it_has_every_address() -> None:
    assert set(DOCUMENT["paths"]) == set(METHODS) - {"/v2/"}
    assert set(DOCUMENT["paths"]) >= PUBLISHED_PATHS
    for address, methods in DOCUMENT["paths"].items():
        assert list(methods) == [METHODS[address].lower()]
    names = {each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()}
    assert len(names) == len(DOCUMENT["paths"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_every_field_of_the_published_document(name: str) -> None:
    required, optional = (set(names.split()) for names in PUBLISHED[name])
    schema = DOCUMENT["schemas"][name]
    assert set(schema["properties"]) >= required | optional
    assert set(schema.get("required", ())) >= required


def test_it_names_the_models_and_versions_that_are_served() -> None:
    given: list[dict[str, Any]] = DOCUMENT["paths"]["/v2/models/{name}/versions/{version}"]["get"]["parameters"]
    assert [entry["schema"]["enum"] for entry in given] == [["sms-risk", "digits", "text", "image"], [VERSION]]


def test_the_whole_document_has_it_beside_our_own() -> None:
    whole = openapi(beside=DOCUMENT)
    assert {*DOCUMENT["paths"], "/classify_text"} <= set(whole["paths"])
    assert not set(openapi()["components"]["schemas"]) & set(DOCUMENT["schemas"])
    assert {"OipError", "Problem"} <= set(whole["components"]["schemas"])
