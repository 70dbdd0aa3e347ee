"""A real server on a real socket, and clients that never read: what waits for them is bounded, and ends."""

from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.http import unread
from serving.http.unread import MAX_PIPELINED
from tests.hostile.raw import sent_patiently
from tests.serving.http.test_http_one import echo
from tests.serving.http.test_protocol import installed as installed
from tests.serving.http.test_protocol import run, served

LARGE = 20_000_000
"""Bytes of an answer that no kernel takes from a server for a client that does not read."""


class Ended:
    """An application whose answers are large or small, and how many of them it has begun and ended."""

    def __init__(self, size: int = LARGE) -> None:
        self.size, self.begun, self.ended = size, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await Request(scope, receive).body()
        await Response(bytes(self.size))(scope, receive, send)
        self.ended += 1


async def cut_off(port: int, sent: bytes) -> None:
    """Return when the server has cut off a connection whose client never reads; it hears of it by a reset."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, sent)
    while not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        await asyncio.sleep(0.05)
    connection.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "keep_alive_s"),
    [(GET, 60.0), (GET * 5, 60.0), (GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 60.0), (GET, 0.3)],
    ids=["one", "pipelined", "closed after it", "idle"],
)
def test_a_client_that_never_reads_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, keep_alive_s: float
) -> None:
    monkeypatch.setattr(unread, "UNREAD_LIMIT_S", 0.5)
    app = Ended()

    async def scenario() -> None:
        async with served(keep_alive_s, app) as port:
            await cut_off(port, sent)
            while app.ended < app.begun:
                await asyncio.sleep(0.01)

    run(scenario)
    assert app.begun >= 1


def test_a_client_that_reads_late_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "UNREAD_LIMIT_S", 60.0)

    async def scenario() -> None:
        async with served(60, Ended()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(GET)
                await asyncio.sleep(0.2)
                await reader.readuntil(b"\r\n\r\n")
                assert len(await reader.readexactly(LARGE)) == LARGE
            writer.close()

    run(scenario)


def test_few_requests_wait_on_a_connection() -> None:
    async def scenario() -> None:
        async with served(60, echo) as port:
            one = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
            answers = await sent_patiently(("127.0.0.1", port), one * (MAX_PIPELINED + 50), patience_s=30)
            assert [answer.status for answer in answers] == [200] * (MAX_PIPELINED + 1) + [400]
            assert "at most 100 requests may wait" in answers[-1].message

    run(scenario)
