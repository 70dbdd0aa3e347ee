"""No pickle from anywhere: to every socket that a server has, at every address, in every way, and from an expert."""

from __future__ import annotations

import asyncio
import base64
import pickle
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest

from loadtest.traffic.process import free_port
from serving.errors import MalformedError, StageError
from serving.expert.client import RemoteExpert
from serving.expert.over_grpc import OverGrpc
from serving.expert.over_http import OverHttp
from serving.http import api, expert_app
from serving.protobuf import SERVICE, new
from tests.server import Server
from tests.service.test_api import digit
from tests.service.test_no_pickle import KINDS, PICKLE, Mark

# BentoML's own addresses, and those of its batchable API at an expert.
OF_BENTOML = ("/", "/schema.json", "/healthz", "/livez", "/readyz", "/classify", "/nowhere")
DIGEST = "1" * 64


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
def payload(mark: Path) -> Iterator[bytes]:
    """Leaves a mark where it is loaded, which must not be there in the end."""
    yield pickle.dumps(Mark(mark))
    assert not mark.exists()


def ways(payload: bytes) -> Iterator[dict[str, Any]]:
    """Requests that bring it."""
    in_base64 = base64.b64encode(payload).decode()
    for kind in KINDS:
        yield {"content": payload, "headers": kind}
    for kind in (
        "application/octet-stream",
        "application/json",
        "image/png",
        "application/x-www-form-urlencoded",
        "*/*",
    ):
        yield {"content": payload, "headers": {"Content-Type": kind}}
    for kind in (PICKLE, "application/octet-stream", "application/json"):
        for name in ("image", "items", "text", "budget_ms"):
            yield {"files": {name: (name, payload, kind)}}
            yield {"files": {name: (None, payload, kind)}}
    for name in ("text", "texts", "image", "items", "inputs"):
        yield {"json": {name: in_base64}}
        yield {"json": {name: [in_base64]}}
    yield {"json": {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [in_base64]}]}}
    yield {"content": b"{}" + payload, "headers": {"Inference-Header-Content-Length": "2"}}
    yield {"content": b"{}", "headers": {"X-Request-Id": in_base64[:128], "traceparent": in_base64}}
    yield {"content": b"{}", "params": {"model": in_base64, "budget_ms": in_base64}}
    yield {"content": b"{}", "headers": {"Cookie": in_base64}}


def send_all(client: httpx.Client, addresses: set[str], payload: bytes) -> None:
    """Bring it to each address in each way."""
    for address in sorted(addresses):
        for way in ways(payload):
            client.post(address, **way)


def addresses_of(server: Server) -> set[str]:
    """All addresses of the API, with a model's name where they have one."""
    said = httpx.get(f"{server.url}/docs.json").json()["paths"]
    version = httpx.get(f"{server.url}/v2/models/text").json()["versions"][0]
    named = {
        path.replace("{name}", kind).replace("{version}", version)
        for path in (*said, *api.METHODS)
        for kind in ("text", "image")
    }
    return named | {"/admin/models/tiny-text", *OF_BENTOML}


def test_no_address_of_the_api_loads_one(server: Server, client: httpx.Client, payload: bytes) -> None:
    send_all(client, addresses_of(server), payload)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_no_address_of_an_expert_loads_one(server: Server, payload: bytes, loud: None, kind: str) -> None:
    transport = httpx.HTTPTransport(uds=server.expert_socket(kind))
    with httpx.Client(transport=transport, base_url="http://expert", timeout=60) as client:
        send_all(client, {*expert_app.METHODS, *OF_BENTOML, "/admin/models/tiny-text"}, payload)


def test_no_call_of_grpc_loads_one(server: Server, payload: bytes) -> None:
    sent = ((("sieve-bin", payload),), (("payload-container", "PickleContainer"),), ())
    with grpc.insecure_channel(server.grpc) as channel:
        for name in ("ModelInfer", "ModelMetadata", "ModelReady", "ServerMetadata", "ServerLive", "Nothing"):
            call = channel.unary_unary(f"/{SERVICE}/{name}")
            for metadata in sent:
                assert call.future(payload, timeout=10, metadata=metadata).code() is not grpc.StatusCode.UNKNOWN


def test_no_socket_of_the_server_loads_one(server: Server, payload: bytes) -> None:
    """There are two, the API's and that of gRPC: BentoML's process manager listens on none (`serving.control`)."""
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    listening = {
        (each.laddr.ip.removeprefix("::ffff:"), each.laddr.port)
        for process in processes
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", int(port)) for port in (server.url.rpartition(":")[2], server.grpc[-5:])}
    for place in listening:
        with socket.create_connection(place, timeout=5) as connection:
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65_536)


REPLIES: list[Mapping[str, str]] = [
    {"Content-Type": PICKLE},
    {"Content-Type": "application/octet-stream"},
    {"Content-Type": "application/json", "Payload-Container": "PickleContainer"},
    {"Inference-Header-Content-Length": "0"},
    {"Inference-Header-Content-Length": "-5"},
]


@contextmanager
def expert_that_replies(body: bytes, headers: Mapping[str, str]) -> Iterator[str]:
    """The URL of an expert that answers every request so, in the event loop that runs."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f'HTTP/1.1 200 OK\r\nETag: "{DIGEST}"\r\n{lines}Content-Length: {len(body)}\r\n\r\n'

    class Expert(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(head.encode() + body)

    port = free_port()
    made = asyncio.ensure_future(asyncio.get_running_loop().create_server(Expert, "127.0.0.1", port))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        made.result().close()


@pytest.mark.parametrize("headers", REPLIES, ids=str)
def test_no_reply_of_an_expert_is_loaded(payload: bytes, headers: Mapping[str, str]) -> None:
    """Neither by the client of our own experts nor by that of other servers."""
    head = b'{"type":"float32","shapes":[[1,2]]}\n'

    async def main() -> None:
        for body in (payload, head + payload, b'{"outputs": ' + payload, payload + head):
            with expert_that_replies(body, headers) as url:
                await asyncio.sleep(0.01)
                ours, theirs = RemoteExpert(url, "an-expert", DIGEST), OverHttp(url, "an-expert")
                with pytest.raises(StageError):
                    await ours([np.array([1])])
                assert "error" in await ours.describe()
                with pytest.raises((StageError, MalformedError)):
                    await theirs.metadata("")
                with pytest.raises((StageError, MalformedError)):
                    await theirs.infer("", {"input_ids": np.array([[1]])}, None, 1_000)
                await ours.close()
                await theirs.close()

    asyncio.run(main())


@contextmanager
def expert_over_grpc_that_replies(body: bytes) -> Iterator[str]:
    """HOST:PORT of a gRPC server that answers every call so."""

    class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no types
        def service(self, _details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: body)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Calls()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def in_messages(payload: bytes) -> Iterator[bytes]:
    """Replies that hold it: alone, and in each place of a message that holds bytes."""
    yield payload
    yield payload * 2
    in_text = base64.b64encode(payload).decode()
    whole = payload + bytes(-len(payload) % 8)
    for datatype in ("FP32", "BYTES"):
        for shape in ([1, 2], [1, len(whole) // 4], [-1]):
            output: dict[str, Any] = {"name": "logits", "datatype": datatype, "shape": shape}
            yield new("ModelInferResponse", outputs=[output], raw_output_contents=[whole]).SerializeToString()
            held = {**output, "contents": {"bytes_contents": [payload]}}
            yield new("ModelInferResponse", outputs=[held], raw_output_contents=[]).SerializeToString()
    tensor = {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}
    told = {"pickle": {"string_param": in_text}}
    said = {"name": in_text, "versions": [in_text], "platform": in_text, "inputs": [tensor], "parameters": told}
    yield new("ModelMetadataResponse", **said).SerializeToString()


def test_no_reply_of_an_expert_over_grpc_is_loaded(payload: bytes) -> None:
    """It is refused, or it is read as the numbers and the words that the message states."""
    infer = {"input_ids": np.array([[1]])}

    async def outcome(call: Any) -> Any:
        try:
            return await call
        except (StageError, MalformedError) as refused:
            return refused

    async def main() -> None:
        for place, body in enumerate(in_messages(payload)):
            with expert_over_grpc_that_replies(body) as address:
                expert = OverGrpc(address, "an-expert")
                said = await outcome(expert.metadata(""))
                logits = await outcome(expert.infer("", infer, None, 10_000))
                await expert.close()
            assert isinstance(logits, MalformedError | StageError) or logits.dtype == np.float32
            if place < 2:
                assert isinstance(logits, MalformedError | StageError)
                assert isinstance(said, MalformedError | StageError)

    asyncio.run(main())


def test_a_pickle_is_no_image(client: httpx.Client, payload: bytes) -> None:
    """Nor is one behind an image."""
    headers = {"Content-Type": "image/png"}
    assert client.post("/classify_image", content=payload, headers=headers).status_code == 422
    assert client.post("/classify_image", content=digit(0) + payload, headers=headers).status_code in (200, 503)
