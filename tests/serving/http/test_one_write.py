"""A real server on a real socket: how many packets a response takes, and that none of it is held back."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from serving.http.protocol import install_protocol
from tests.serving.http.test_protocol import served

# `tcpi_data_segs_in` of struct tcp_info (linux/tcp.h): packets with data that came.
CAME_AT, CAME = 152, struct.Struct("I")
GO_ON = asyncio.Event()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as the path says."""
    if scope["path"] == "/late":  # half of the body, and the rest when the test has seen that
        head = [(b"content-length", b"8")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await GO_ON.wait()
        return await send({"type": "http.response.body", "body": b"rest"})
    if scope["path"] == "/fails":
        head = [(b"content-length", b"8")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        raise ValueError("no body")
    if scope["path"] == "/stream":
        return await StreamingResponse(iter([b"one", b"two"]))(scope, receive, send)
    if scope["path"] == "/continue":
        await receive()
    empty = scope["path"] == "/empty"
    await (Response(status_code=204) if empty else PlainTextResponse("a body"))(scope, receive, send)


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    before = HTTP_PROTOCOLS["auto"]
    install_protocol()
    yield
    HTTP_PROTOCOLS["auto"] = before


def asked(path: str, end: bytes, method: str = "GET", more: str = "") -> tuple[bytes, int]:
    """What came up to `end`, or up to the end of the connection, and in how many packets."""
    return asyncio.run(_asked(path, end, method, more))


async def _asked(path: str, end: bytes, method: str, more: str) -> tuple[bytes, int]:
    async with served(app=app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: here\r\n{more}\r\n".encode())
        try:
            got = await reader.readuntil(end)
        except asyncio.IncompleteReadError as ended:
            got = ended.partial
        if path == "/late":
            GO_ON.set()
            got += await reader.readexactly(4)
        info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, CAME_AT + CAME.size)
        writer.close()
        return got, CAME.unpack_from(info, CAME_AT)[0]


def test_head_and_body_come_together() -> None:
    got, packets = asked("/", b"a body")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert packets == 1


@pytest.mark.parametrize(
    ("path", "method", "end"),
    [("/", "HEAD", b"\r\n\r\n"), ("/empty", "GET", b"\r\n\r\n"), ("/stream", "GET", b"3\r\ntwo\r\n0\r\n\r\n")],
)
def test_a_head_that_no_piece_of_that_length_follows_does_not_wait(path: str, method: str, end: bytes) -> None:
    got, _ = asked(path, end, method)
    assert got.startswith(b"HTTP/1.1 20")
    assert got.endswith(end)


def test_pieces_go_out_as_they_come() -> None:
    got, packets = asked("/late", b"half")
    assert got.endswith(b"halfrest")
    assert packets == 2


def test_a_head_whose_body_fails_is_sent_before_the_end() -> None:
    got, _ = asked("/fails", b"never")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\n")


def test_the_word_to_go_on_does_not_count_as_a_head() -> None:
    got, packets = asked("/continue", b"a body", "POST", "Expect: 100-continue\r\nContent-Length: 0\r\n")
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert packets == 2
