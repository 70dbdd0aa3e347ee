"""Samples over HTTP and over gRPC, to real little servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from loadtest.traffic.connections import Response
from loadtest.traffic.inference import METHOD
from loadtest.traffic.sample import Sample, Way, text_sample
from loadtest.traffic.sending import Sending
from tests.loadtest.traffic.test_connections import served

CODE = grpc.StatusCode
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nInference-Header-Content-Length: 1\r\n\r\n{}"


def call(server: str) -> Sample:
    return Sample(METHOD, b"message", "application/grpc", "short", protocol="grpc", grpc=server)


def over_grpc(answer: Callable[[bytes, Any], Awaitable[bytes]], times: int = 1, timeout_s: float = 20.0) -> list[Any]:
    """What comes back from a server that answers so many calls so, one after the other; or the error."""

    async def main() -> list[Any]:
        server = grpc.aio.server()
        _, service, method = METHOD.split("/")
        handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with Sending("http://127.0.0.1:1") as sending:
                return [await sending.send(call(f"127.0.0.1:{port}"), timeout_s) for _ in range(times)]
        finally:
            await server.stop(0)

    return asyncio.run(main())


def test_calls_share_a_connection_and_bring_their_timings() -> None:
    peers = set()

    async def answer(data: bytes, context: Any) -> bytes:
        peers.add(context.peer())
        context.set_trailing_metadata((("server-timing", "read;dur=0.1"),))
        return data + b" back"

    assert over_grpc(answer, times=3) == [Response(200, "read;dur=0.1", b"message back")] * 3
    assert len(peers) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [(CODE.RESOURCE_EXHAUSTED, 503), (CODE.INVALID_ARGUMENT, 400), (CODE.NOT_FOUND, 404), (CODE.UNIMPLEMENTED, 500)],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_code_is_the_status_that_means_the_same(code: grpc.StatusCode, status: int) -> None:
    async def refuse(_data: bytes, context: Any) -> bytes:
        await context.abort(code, "no", (("server-timing", "total;dur=1"),))
        raise AssertionError("abort raises")

    assert over_grpc(refuse) == [Response(status, "total;dur=1", b"")]


def test_who_waits_too_long_cancels_the_call() -> None:
    cancelled = asyncio.Event()

    async def never(_data: bytes, _context: Any) -> bytes:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError("it was not cancelled")

    with pytest.raises(TimeoutError):
        over_grpc(never, timeout_s=0.2)
    assert cancelled.is_set()


def test_nobody_there_is_an_error_of_the_system() -> None:
    async def main() -> None:
        async with Sending("http://127.0.0.1:1") as sending:
            await sending.send(call("127.0.0.1:1"), 20.0)

    with pytest.raises(OSError, match=r"no server of gRPC takes calls there"):
        asyncio.run(main())


def test_the_length_of_the_json_goes_with_binary_tensors_and_comes_back() -> None:
    async def main() -> Any:
        async with served(OK) as place, Sending(place.url) as sending:
            sample = text_sample({"text": "a"}, Way(protocol="oip-binary"), None)
            return sample, await sending.send(sample, 20.0), place.requests

    sample, response, ((head, body),) = asyncio.run(main())
    assert f"\r\ninference-header-content-length: {sample.json_bytes}\r\n".encode() in head
    assert body == sample.body
    assert response == Response(200, "", b"{}", 1)
