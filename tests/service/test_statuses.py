"""Every status that a served process answers with stands in its OpenAPI document, and the other way round."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, TinyCascades
from tests.server import Server, serve
from tests.service.test_api import digit
from tests.service.test_degraded import TEXT_ONLY
from tests.service.test_failed_items import BAD, with_token

PNG = {"Content-Type": "image/png"}
GZIP = {"Content-Encoding": "gzip"}
TEXT, TEXTS, IMAGE = "/classify_text", "/classify_texts", "/classify_image"
SMALL = '{"text": "hello"}'
LARGE_HEAD = {"X-Filler": "x" * 70_000}
SENT: list[tuple[str, dict[str, Any], int]] = [
    (TEXT, {"content": SMALL}, 200),
    (TEXT, {"content": SMALL, "params": {"budget_ms": 1000}}, 200),
    (TEXT, {"content": "{"}, 400),
    (TEXT, {"content": b"{" * 6_000_000}, 413),
    (TEXT, {"content": gzip.compress(SMALL.encode(), mtime=0), "headers": GZIP}, 415),
    (TEXT, {"content": "{}"}, 422),
    (TEXT, {"content": SMALL, "params": {"budget": 5}}, 422),
    (TEXT, {"content": SMALL, "headers": {"X-Priority": "urgent"}}, 422),
    (TEXT, {"content": SMALL, "headers": LARGE_HEAD}, 431),
    (TEXTS, {"content": '{"texts": ["hello"]}'}, 200),
    (TEXTS, {"content": "[]"}, 400),
    (TEXTS, {"content": b"[" * 6_000_000}, 413),
    (TEXTS, {"content": gzip.compress(b"{}", mtime=0), "headers": GZIP}, 415),
    (TEXTS, {"content": '{"texts": []}'}, 422),
    (TEXTS, {"content": SMALL, "headers": LARGE_HEAD}, 431),
    (IMAGE, {"content": digit(1), "headers": PNG, "params": {"budget_ms": 1000}}, 200),
    (IMAGE, {"files": {"image": digit(1)}, "params": {"budget_ms": 1000}}, 200),
    (IMAGE, {"content": "x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
    (IMAGE, {"content": bytes(10_000_001), "headers": PNG}, 413),
    (IMAGE, {"files": {"image": bytes(10_000_001)}}, 413),
    (IMAGE, {"content": "x", "headers": {"Content-Type": "text/plain"}}, 415),
    (IMAGE, {"content": gzip.compress(digit(1), mtime=0), "headers": {**PNG, **GZIP}}, 415),
    (IMAGE, {"content": b"x", "headers": PNG}, 422),
    (IMAGE, {"files": [("image", digit(1)), ("image", digit(2))]}, 422),
    (IMAGE, {"content": digit(1), "headers": {**PNG, **LARGE_HEAD}}, 431),
]
# What the table above cannot bring about; 408 is that of tests/hostile/test_slow.py.
OTHERS = {404, 408, 500, 503}


@pytest.fixture(scope="module")
def documented(server: Server) -> dict[str, set[int]]:
    """The statuses of each address, as /docs.json lists them."""
    paths = httpx.get(f"{server.url}/docs.json").json()["paths"]
    return {path: {int(status) for each in paths[path].values() for status in each["responses"]} for path in paths}


@pytest.mark.parametrize(("path", "sent", "status"), SENT, ids=lambda value: str(value)[:40])
def test_a_request_gets_its_status(
    client: httpx.Client, documented: dict[str, set[int]], path: str, sent: dict[str, Any], status: int
) -> None:
    reply = client.post(path, **sent)
    assert reply.status_code == status, reply.text
    assert status in documented[path]
    assert status == 200 or reply.json()["error"]["message"]


@pytest.mark.parametrize("path", [TEXT, TEXTS, IMAGE])
def test_no_other_status_is_documented(documented: dict[str, set[int]], path: str) -> None:
    assert documented[path] == {status for where, _, status in SENT if where == path} | OTHERS
    assert documented["/models"] == {200, 500}
    assert documented["/readyz"] == {200, 503}
    always_fine = {path for path, statuses in documented.items() if statuses == {200}}
    assert always_fine == {"/livez", "/metrics", "/docs.json", "/v2", "/v2/health/live"}


def test_what_would_be_late_gets_503(server: Server) -> None:
    async def main() -> set[int]:
        async with server.async_client(32) as client:
            sent = {"texts": ["where is my refund " * 50] * 64, "budget_ms": 5}
            return {
                reply.status_code for reply in await asyncio.gather(*(client.post(TEXTS, json=sent) for _ in range(64)))
            }

    assert 503 in asyncio.run(main())


def test_a_cascade_that_is_not_served_gets_404_and_a_text_that_no_model_takes_500(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    home = with_token(tiny_cascades, tmp_path / "home", "screen", "expert")
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server, server.client() as client:
        assert client.post(IMAGE, content=digit(1), headers=PNG).status_code == 404
        assert client.post(TEXT, json={"text": BAD}).status_code == 500
