"""A real server on a real socket: offers of another protocol are ignored, and what is no HTTP is refused."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving.http.unread import MAX_PIPELINED
from tests.serving.http.test_protocol import installed as installed
from tests.serving.http.test_protocol import response, run, served

# What the HttpClient of the JDK sends to http:// addresses.
JAVA = (
    b"Connection: Upgrade, HTTP2-Settings\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c"
)
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the method, the address and the body."""
    request = Request(scope, receive)
    said = f"{request.method} {scope['path']} {(await request.body()).decode()}"
    await PlainTextResponse(said)(scope, receive, send)


def offering(path: str, body: bytes, offer: bytes = JAVA, *, chunked: bool = False, more: bytes = b"") -> bytes:
    """A request that offers another protocol."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n%b%b\r\n\r\n%b" % (path.encode(), offer, more, framing, sent)


def exchanged(*pieces: bytes, answers: int, pause_s: float = 0.0) -> list[tuple[int, bytes]]:
    """The answers to bytes that are sent over one connection, in pieces."""
    got: list[tuple[int, bytes]] = []

    async def scenario() -> None:
        async with served(app=echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
            for _ in range(answers):
                got.append(await response(reader))
            writer.close()

    run(scenario)
    return got


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("offer", [JAVA, WEBSOCKET], ids=["h2c", "websocket"])
def test_the_offer_of_another_protocol_is_ignored(offer: bytes, chunked: bool) -> None:
    both = offering("/a", b"one", offer, chunked=chunked) + offering("/b", b"two", offer, chunked=chunked)
    plain = b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nthree"
    wanted = [(200, b"POST /a one"), (200, b"POST /b two"), (200, b"POST /c three")]
    assert exchanged(both + plain, answers=3) == wanted, "one after the other over one connection"
    assert exchanged(plain + both, answers=3) == [wanted[2], *wanted[:2]]


def test_it_is_ignored_wherever_the_bytes_are_cut() -> None:
    sent = offering("/a", b"one") + offering("/b", b"two", chunked=True)
    for place in range(1, len(sent), 13):
        got = exchanged(sent[:place], sent[place:], answers=2, pause_s=0.005)
        assert got == [(200, b"POST /a one"), (200, b"POST /b two")], place


def test_a_request_with_such_an_offer_and_no_body_is_answered() -> None:
    get = b"GET /models HTTP/1.1\r\nHost: x\r\n" + JAVA + b"\r\n\r\n"
    assert exchanged(get * MAX_PIPELINED, answers=MAX_PIPELINED) == [(200, b"GET /models ")] * MAX_PIPELINED


def test_such_a_request_may_wait_for_100_continue() -> None:
    async def scenario() -> None:
        async with served(app=echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            whole = offering("/a", b"one", more=b"Expect: 100-continue\r\n")
            writer.write(whole[:-3])
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(whole[-3:])
            assert await response(reader) == (200, b"POST /a one")
            writer.close()

    run(scenario)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # how TLS begins
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /a HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        offering("/a", b"", more=b"Content-Length: 2\r\n"),
    ],
)
def test_what_is_no_http_is_refused_in_the_shape_of_all_errors(sent: bytes) -> None:
    async def scenario() -> None:
        async with served(app=echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = json.loads(await reader.read())
            assert head.startswith("http/1.1 400 bad request\r\n")
            assert f"x-request-id: {body['request_id']}\r\n" in head
            assert body["error"]["field"] is None
            assert "must be HTTP/1.1" in body["error"]["message"]
            assert "let an HTTP client make it" in body["error"]["message"]
            writer.close()

    run(scenario)
