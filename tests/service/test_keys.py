"""API keys against the served process: over HTTP and gRPC, on the page, and while their file changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
import tritonclient.grpc as triton
from playwright.sync_api import Browser

from loadtest.traffic.process import free_port
from serving.http.keys import Right, new_key
from tests.browser import needs_chromium, visit
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, TINY, Server, in_full, serve
from tests.service.test_degraded import with_point
from tests.serving.http.test_keys import replaced
from tests.stores import publish

TEXT = {"text": "where is my refund", "budget_ms": PATIENT_MS}
RIGHTS: dict[str, list[Right]] = {
    "shop": ["classify"],
    "own": ["classify", "high-priority"],
    "prometheus": ["metrics"],
    "ops": ["admin"],
}


COUNTED = [("own", "taken"), ("shop", "no-right"), ("prometheus", "no-right"), ("none", "missing")]


class Locked(NamedTuple):
    """A server with a key for each name of RIGHTS, whose file may be changed."""

    server: Server
    file: Path
    key: dict[str, str]

    def client(self, name: str = "") -> httpx.Client:
        """A client with the key of `name`, or with none."""
        client = self.server.client()
        if name:
            client.headers["X-API-Key"] = self.key[name]
        return client


@pytest.fixture(scope="module")
def locked(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder, port = tmp_path_factory.mktemp("locked"), free_port()
    home, file = with_point(tiny_cascades, folder), folder / "keys.toml"
    made = {name: new_key(name, rights) for name, rights in RIGHTS.items()}
    file.write_text("\n".join(entry for _, entry in made.values()))
    before = ("env", f"SIEVE_API_KEYS_FILE={file}")
    given = (*TINY, "--arg", f"grpc_port={port}")
    with serve(*given, home=home, folder=ROOT, log=folder / "log", before=before) as running:
        publish(home / "models", "tiny-text", "v2", mark="v2 ")
        running.grpc = f"127.0.0.1:{port}"
        yield Locked(running, file, {name: key for name, (key, _) in made.items()})


def test_each_key_may_do_what_it_has_a_right_to(locked: Locked) -> None:
    with locked.client() as client:
        for path in ("/models", "/metrics", "/docs.json", "/v2", "/schema.json"):
            assert client.get(path).status_code == 401, path
        for path in ("/readyz", "/livez", "/v2/health/ready", "/v2/models/text/ready", "/", "/page/page.js"):
            assert client.get(path).status_code == 200, path
        assert client.post("/classify_text", json=TEXT).status_code == 401
        assert client.post("/infer").status_code == 401
    with locked.client("shop") as client:
        assert in_full(client, "/classify_text", json=TEXT).status_code == 200
        assert client.get("/metrics").status_code == 403
        assert client.post("/classify_text", json=TEXT, headers={"X-Priority": "high"}).status_code == 403
        said = client.get("/docs.json").json()["paths"]["/classify_text"]["post"]
        assert {"401", "403", "429"} <= set(said["responses"])
    with locked.client("own") as client:
        assert in_full(client, "/classify_text", json=TEXT, headers={"X-Priority": "high"}).status_code == 200
    with locked.client("prometheus") as client:
        assert client.post("/classify_text", json=TEXT).status_code == 403
        counted = [f'sieve_key_requests_total{{key="{key}",outcome="{outcome}"}}' for key, outcome in COUNTED]
        end_s = time.monotonic() + LIMIT_S
        while not all(each in (text := client.get("/metrics").text) for each in counted):
            assert time.monotonic() < end_s, text
            time.sleep(0.1)
    assert not any(key in text for key in locked.key.values())


def test_the_document_says_which_addresses_need_one(locked: Locked) -> None:
    with locked.client("shop") as client:
        paths = client.get("/docs.json").json()["paths"]
    with locked.client() as client:
        for path, operations in paths.items():
            address = path.replace("{name}", "tiny-text").replace("{version}", "1")
            for method, operation in operations.items():
                reply = client.request(method, address)
                assert (reply.status_code == 401) == (operation["security"] != []), path
                assert str(reply.status_code) in operation["responses"], path


def test_a_call_over_grpc_needs_one_too(locked: Locked) -> None:
    with triton.InferenceServerClient(locked.server.grpc) as client:
        assert client.is_server_ready()
        with pytest.raises(triton.InferenceServerException, match="X-API-Key: must be a key") as caught:
            client.get_server_metadata()
        assert caught.value.status() == str(grpc.StatusCode.UNAUTHENTICATED)
        assert client.get_server_metadata({"authorization": f"Bearer {locked.key['shop']}"}).name == "sieve"


def test_a_key_of_operators_has_a_version_served_by_the_expert_too(locked: Locked) -> None:
    sent: dict[str, Any] = {"json": {"version": "v2"}}
    with locked.client("shop") as client:
        assert client.post("/admin/models/tiny-text", **sent).status_code == 403
    with locked.client("ops") as client:
        reply = client.post("/admin/models/tiny-text", **sent)
        assert (reply.status_code, reply.json().get("version")) == (200, "v2"), reply.text


@needs_chromium
def test_the_page_asks_for_the_key_and_keeps_it_to_itself(locked: Locked, browser: Browser) -> None:
    with visit(browser, locked.server.url) as page:
        page.page.wait_for_selector("#locked:not([hidden])")
        page.page.fill("#key", "guess")
        page.page.press("#key", "Enter")
        page.page.wait_for_selector("#problem:not([hidden])")
        assert page.text("#problem").startswith("401 X-API-Key: must be a key of this service, got another value")
        page.page.fill("#key", locked.key["shop"])
        page.page.press("#key", "Enter")
        page.page.wait_for_selector("#models section")
        page.page.fill("#text", "hello")
        page.page.fill("#budget", str(PATIENT_MS))
        page.page.press("#text", "Control+Enter")
        page.page.wait_for_selector("#answer:not([hidden])")
        assert "X-API-Key: $SIEVE_KEY" in page.text("#curl")
        assert locked.key["shop"] not in page.page.content()
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        assert locked.key["shop"] not in page.page.evaluate(kept)
        page.page.goto(f"{locked.server.url}/reference")
        page.page.wait_for_selector("#locked:not([hidden])")
        page.page.fill("#key", locked.key["shop"])
        page.page.press("#key", "Enter")
        page.page.wait_for_selector(".opblock")
        assert [said for said in page.complaints if not said.startswith("Failed to load resource")] == []


def test_a_changed_file_counts_and_a_bad_one_does_not(locked: Locked) -> None:
    before = locked.file.read_text()
    key, entry = new_key("next", ["classify"])
    try:
        with locked.server.client() as client:
            replaced(locked.file, before + entry)
            end_s = time.monotonic() + LIMIT_S
            while client.get("/models", headers={"X-API-Key": key}).status_code != 200:
                assert time.monotonic() < end_s
                time.sleep(0.1)
            replaced(locked.file, "[next")
            while "The keys that were read before go on" not in locked.server.log.read_text():
                assert time.monotonic() < end_s
                time.sleep(0.1)
            assert client.get("/models", headers={"X-API-Key": key}).status_code == 200
    finally:
        replaced(locked.file, before)
