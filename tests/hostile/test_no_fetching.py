"""No input makes the service open a connection or a file: addresses are text, and no image."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from serving.protobuf import SERVICE, new
from tests.hostile.test_no_pickle import addresses_of
from tests.server import Server


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket to which nobody may connect."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened
        opened.settimeout(0.5)
        with pytest.raises(TimeoutError):
            opened.accept()


@pytest.fixture
def urls(listening: socket.socket) -> list[str]:
    """Addresses that lead there, and to files."""
    port = listening.getsockname()[1]
    return [f"http://127.0.0.1:{port}/a.png", f"http://localhost:{port}/", f"//127.0.0.1:{port}", "file:///etc/passwd"]


def ways(url: str) -> Iterator[dict[str, Any]]:
    """Requests with an address wherever one may stand."""
    for name in ("image", "images", "items", "text", "budget_ms", "file", "url"):
        yield {"files": {name: (None, url)}}
        yield {"files": {name: (url, url.encode(), "text/uri-list")}}
        yield {"data": {name: url}}
        yield {"json": {name: url}}
        yield {"json": {name: [url]}}
        yield {"json": {name: {"url": url, "href": url, "$ref": url}}}
    for kind in (
        "text/plain",
        "application/json",
        "image/png",
        "image/svg+xml",
        "text/uri-list",
        "message/external-body",
    ):
        yield {"content": url, "headers": {"Content-Type": kind}}
    svg = f'<!DOCTYPE svg [<!ENTITY x SYSTEM "{url}">]><svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/>'
    yield {"content": svg + "&x;</svg>", "headers": {"Content-Type": "image/svg+xml"}}
    for header in (
        "Host",
        "Origin",
        "Referer",
        "Forwarded",
        "X-Forwarded-Host",
        "Location",
        "Content-Location",
        "traceparent",
    ):
        yield {"content": b'{"text": "a"}', "headers": {header: url}}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [url], "parameters": {"content_type": url}}
    yield {"json": {"inputs": [tensor]}}
    yield {"content": b'{"text": "a"}', "params": {"model": url, "image": url}}


def test_no_address_in_a_request_is_fetched(server: Server, client: httpx.Client, urls: list[str]) -> None:
    posts = {"/classify_text", "/classify_texts", "/classify_image", "/classify_images", "/v2/models/image/infer"}
    posts |= {"/classify"}
    assert posts - {"/classify"} <= addresses_of(server)
    for path in sorted(posts):
        for url in urls:
            for way in ways(url):
                client.post(path, **way)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_an_expert_fetches_none(server: Server, urls: list[str], loud: None, kind: str) -> None:
    """BentoML fetches addresses for APIs that take files; the expert's takes none."""
    transport = httpx.HTTPTransport(uds=server.expert_socket(kind))
    with httpx.Client(transport=transport, base_url="http://expert", timeout=60) as client:
        for path in ("/infer", "/classify"):
            for url in urls:
                for way in ways(url):
                    client.post(path, **way)


def test_grpc_fetches_none(server: Server, urls: list[str]) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for url in urls:
            tensor = new("ModelInferRequest.InferInputTensor", name="image", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(url.encode())
            with pytest.raises(grpc.RpcError) as caught:
                call(new("ModelInferRequest", model_name="image", inputs=[tensor]).SerializeToString(), timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
