"""The OpenAPI document against the served process: what it calls valid is taken, and answers are as it says.

Clients that are generated from it get answers.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from schemathesis import GenerationMode

from tests.commands import ROOT
from tests.server import PATIENT_MS, Server, in_full
from tests.service.test_api import digit

TEXT, TEXTS, IMAGE, IMAGES = "/classify_text", "/classify_texts", "/classify_image", "/classify_images"
# What no document could rule out: load, and bytes that are no image.
REFUSED = {400, 404, 413, 415, 422}
NODE = ROOT / "build" / "node" / "node_modules"
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { paths } from "./api.js";
declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const { data } = await client.POST("/classify_text", { body: { text: "where is my refund", budget_ms: 1000 } });
const refused = await client.POST("/classify_text", { body: { text: "  " } });
// @ts-expect-error a text is a string
await client.POST("/classify_text", { body: { text: 5 } });
if (data !== undefined) {
  const label: string = "label" in data ? data.label : data.labels.join();
  console.log(label, refused.error?.error.field);
}
"""


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """What the served process says of itself."""
    said: dict[str, Any] = httpx.get(f"{server.url}/docs.json").json()
    return said


@pytest.fixture(scope="module")
def cases(document: dict[str, Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Requests to each address that the document calls valid, as schemathesis makes them."""
    read = schemathesis.openapi.from_dict(document)
    return {
        path: read[path]["POST"].as_strategy(generation_mode=GenerationMode.POSITIVE)
        for path in (TEXT, TEXTS, IMAGE, IMAGES)
    }


def test_it_is_an_openapi_document(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", ()):
            jsonschema.validate(example, schema)


@pytest.mark.parametrize("path", [TEXT, TEXTS, IMAGE, IMAGES])
def test_what_it_calls_valid_is_taken(server: Server, cases: dict[str, st.SearchStrategy[Any]], path: str) -> None:
    statuses = set()

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases[path])
    def sent(case: Any) -> None:
        reply = case.call(base_url=server.url)
        statuses.add(reply.status_code)
        if reply.status_code in REFUSED:
            error = reply.json()["error"]
            # No schema can say what makes bytes an image.
            assert (path, reply.status_code, error["field"]) == (IMAGE, 422, "image"), error
            assert "must" in error["message"]

    sent()
    assert statuses & {200, 422}, "some were looked at"
    assert statuses <= {200, 422, 503}


def validator(document: dict[str, Any], path: str, status: int) -> Draft202012Validator:
    """Checks the body of an answer."""
    (method,) = document["paths"][path]
    schema = document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    uri = "urn:sieve"
    registry: Registry[Any] = Registry().with_resource(uri, Resource.opaque(document))
    return Draft202012Validator(json.loads(json.dumps(schema).replace('"#/', f'"{uri}#/')), registry=registry)


def test_answers_and_errors_are_as_it_says(client: httpx.Client, document: dict[str, Any]) -> None:
    replies = {
        TEXT: [in_full(client, TEXT, json={"text": "hello", "budget_ms": PATIENT_MS}), client.post(TEXT, content="{")],
        TEXTS: [in_full(client, TEXTS, json={"texts": ["hello", " "], "budget_ms": PATIENT_MS})],
        IMAGE: [client.post(IMAGE, files={"image": digit(0)}), client.post(IMAGE, files={"image": b"x"})],
        IMAGES: [client.post(IMAGES, files=[("images", digit(0)), ("images", b"x")]), client.post(IMAGES, content="{")],
        "/models": [client.get("/models")],
    }
    for path, each in replies.items():
        for reply in each:
            validator(document, path, reply.status_code).validate(reply.json())
            assert {name.lower() for name in described_headers(document, path, reply)} <= set(reply.headers)


def described_headers(document: dict[str, Any], path: str, reply: httpx.Response) -> set[str]:
    (method,) = document["paths"][path]
    return set(document["paths"][path][method]["responses"][str(reply.status_code)].get("headers", ()))


def test_a_python_client_made_from_it_gets_an_answer(
    server: Server, document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs.json").write_text(json.dumps(document))
    line = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "docs.json", "--meta", "none"]
    done = subprocess.run(
        [*line, "--output-path", "sieve_client"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    made = importlib.import_module("sieve_client")
    models = importlib.import_module("sieve_client.models")
    classify = importlib.import_module("sieve_client.api.classify.classify_text").sync
    client = made.Client(base_url=server.url, timeout=httpx.Timeout(60))
    answer = classify(client=client, body=models.ClassifyText(text="where is my refund", budget_ms=PATIENT_MS))
    assert isinstance(answer, models.ClassificationAnswer), answer
    assert answer.label == max(answer.scores.additional_properties.items(), key=lambda item: item[1])[0]
    refused = classify(client=client, body=models.ClassifyText(text="  "))
    assert isinstance(refused, models.Problem)
    assert refused.error.field == "text"


@pytest.mark.slow
@pytest.mark.skipif(not NODE.is_dir(), reason="`make node-tools` has not put openapi-typescript into build/node")
def test_a_typescript_client_made_from_it_gets_an_answer(
    server: Server, client: httpx.Client, document: dict[str, Any], tmp_path: Path
) -> None:
    def node(script: str, *arguments: str) -> str:
        line = ["node", str(NODE / script), *arguments] if "/" in script else ["node", script, *arguments]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "docs.json").write_text(json.dumps(document))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "client.ts").write_text(TYPESCRIPT)
    (tmp_path / "node_modules").symlink_to(NODE)
    node("openapi-typescript/bin/cli.js", "docs.json", "--output", "api.ts")
    options = ("--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck")
    node("typescript/bin/tsc", *options, "client.ts")
    answer = in_full(client, TEXT, json={"text": "where is my refund", "budget_ms": PATIENT_MS}).json()
    assert node("client.js", server.url).split() == [answer["label"], "text"]
