"""A page of another origin asks the service from Chromium: the setting `cors_origins`; and `page = false`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Error

from tests.browser import needs_chromium, visit
from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, Server, serve
from tests.service.test_degraded import TEXT_ONLY

ASK = """async ([url, body]) => {
    const headers = { "Content-Type": "application/json", "X-Budget-Ms": "1000", "X-Request-Id": "from-elsewhere" };
    const reply = await fetch(url + "/classify_text", { method: "POST", headers, body: JSON.stringify(body) });
    const timing = reply.headers.get("Server-Timing");
    return { status: reply.status, said: await reply.json(), timing, id: reply.headers.get("X-Request-Id") };
}"""


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two origins with an empty page each."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text('<!doctype html><link rel="icon" href="data:,"><title>elsewhere</title>')

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """No line for each request."""

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def open_server(
    tiny_cascades: TinyCascades, origins: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that pages of the first origin may ask, and that has no page of its own."""
    folder = tmp_path_factory.mktemp("cors")
    settings = folder / "settings.toml"
    settings.write_text(f'workers = 1\npage = false\ncors_origins = ["{origins[0]}"]\n')
    arguments = (*TEXT_ONLY, "--arg", f"settings={settings}")
    with serve(*arguments, home=tiny_cascades.home, folder=ROOT, log=folder / "log") as running:
        yield running


@needs_chromium
def test_a_page_of_an_allowed_origin_gets_answers_and_errors(
    browser: Browser, open_server: Server, origins: list[str]
) -> None:
    with visit(browser, origins[0]) as page:
        answer = page.page.evaluate(ASK, [open_server.url, {"text": "where is my refund", "budget_ms": PATIENT_MS}])
        refused = page.page.evaluate(ASK, [open_server.url, {"text": "  "}])
        models = page.page.evaluate("async (url) => (await fetch(url + '/models')).json()", open_server.url)
    assert (answer["status"], refused["status"]) == (200, 422)
    assert "label" in answer["said"]
    assert refused["said"]["error"]["field"] == "text"
    for reply in (answer, refused):
        assert reply["id"] == "from-elsewhere" == reply["said"]["request_id"]
        assert "wait;dur=" in reply["timing"]
    assert set(models) == {"text", "request_id"}


@needs_chromium
def test_a_page_of_another_origin_gets_nothing(browser: Browser, open_server: Server, origins: list[str]) -> None:
    with visit(browser, origins[1]) as page:
        with pytest.raises(Error, match="Failed to fetch"):
            page.page.evaluate(ASK, [open_server.url, {"text": "hello"}])
        assert any("blocked by CORS policy" in said for said in page.complaints)


def test_a_refusal_because_of_load_is_readable_too(open_server: Server, origins: list[str]) -> None:
    headers = {"Origin": origins[0], "X-Budget-Ms": "0.001"}
    reply = httpx.post(f"{open_server.url}/classify_text", json={"text": "hello " * 3_000}, headers=headers)
    assert reply.status_code in (200, 503)
    assert reply.headers["access-control-allow-origin"] == origins[0]


def test_without_the_page_its_addresses_are_unknown_and_bentoml_s_page_stays_away(open_server: Server) -> None:
    with open_server.client() as client:
        for address in ("/", "/reference", "/page/page.js"):
            reply = client.get(address)
            assert reply.status_code == 404
            assert reply.json()["error"]["message"].startswith(f"GET {address}: not found")
        assert client.get("/docs.json").status_code == client.get("/metrics").status_code == 200
