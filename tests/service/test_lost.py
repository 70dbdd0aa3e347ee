"""Addresses and methods that are not there, and what is no HTTP, at both services as they are served."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlparse

import httpx
import pytest

from tests.server import Server

LOST = [
    ("GET", "/classify_text", 405),
    ("OPTIONS", "/classify_text", 405),
    ("POST", "/models", 405),
    ("POST", "/metrics", 405),
    ("DELETE", "/readyz", 405),
    ("POST", "/healthz", 405),
    ("POST", "/nowhere", 404),
    ("GET", "/nowhere?budget_ms=5", 404),
    ("POST", "/classify_text/", 404),
    ("GET", "/models/", 404),
    ("POST", "//classify_text", 404),
    ("POST", "/Classify_Text", 404),
    ("GET", "/static_content/nowhere", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), LOST)
def test_what_is_not_there_is_told_in_our_shape(server: Server, method: str, path: str, status: int) -> None:
    expect_lost(server.client(), method, path, status, "POST /classify_text")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/infer", 405), ("POST", "/model", 405), ("POST", "/nowhere", 404), ("GET", "//model", 404)],
)
def test_so_it_is_at_the_expert(server: Server, method: str, path: str, status: int) -> None:
    client = httpx.Client(transport=httpx.HTTPTransport(uds=server.expert_socket("text")), base_url="http://expert")
    expect_lost(client, method, path, status, "POST /infer")


def expect_lost(client: httpx.Client, method: str, path: str, status: int, there: str) -> None:
    with client:
        # The address goes out as it is written here.
        url = client.base_url.copy_with(raw_path=path.encode())
        reply = client.request(method, url, headers={"X-Request-Id": "order-17"})
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert f"{method} {path.partition('?')[0]}: " in body["error"]["message"]
    assert there in body["error"]["message"]
    assert body["request_id"] == reply.headers["x-request-id"] == "order-17"


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
@pytest.mark.parametrize("expert", [False, True], ids=["api", "expert"])
def test_what_is_no_http_is_told_in_our_shape(server: Server, sent: bytes, expert: bool) -> None:
    place = urlparse(server.url)
    with socket.socket(socket.AF_UNIX if expert else socket.AF_INET) as connection:
        connection.settimeout(30)
        connection.connect(server.expert_socket("text") if expert else (place.hostname, place.port))
        connection.sendall(sent)
        with connection.makefile("rb") as reader:
            head, _, body = reader.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    said = json.loads(body)
    assert "must be HTTP/1.1" in said["error"]["message"]
    assert f"x-request-id: {said['request_id']}".encode() in head.lower()
