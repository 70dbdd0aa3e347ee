"""A real server on a real socket: when requests came, and what happens to a connection whose request was refused."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from serving.http.door import Door
from serving.http.draining import Draining
from serving.http.guard import ARRIVED
from serving.http.protocol import TICK_S, SieveProtocol, install_protocol, waited_ms
from serving.load.admission import Admission
from serving.load.turns import Turn
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.serving.http.test_door import overload, request

OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the milliseconds that passed since the request came."""
    await Request(scope, receive).body()
    waited = (time.monotonic() - scope[ARRIVED]) * 1e3
    await PlainTextResponse(f"{waited:.3f}")(scope, receive, send)


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    before = HTTP_PROTOCOLS["auto"]
    install_protocol()
    yield
    HTTP_PROTOCOLS["auto"] = before
    SieveProtocol.door = None


@asynccontextmanager
async def served(keep_alive_s: float = 5, app: ASGIApp = app, path: Path | None = None) -> AsyncIterator[int]:
    """The port of a server with this protocol; with `path` it listens on a unix socket."""
    if path is None:
        listening = socket.create_server(("127.0.0.1", 0))
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=keep_alive_s)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test's process keeps its own
    task = asyncio.create_task(server._serve([listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    assert config.http_protocol_class is SieveProtocol
    yield 0 if path else listening.getsockname()[1]
    server.should_exit = True
    await task


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(limited())


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("content-length")]
    return int(head.split()[1]), await reader.readexactly(int(length))


@pytest.fixture
def admission(metrics: Metrics) -> Admission:
    """The admission behind a door in front of every server of this process."""
    got = Admission()
    SieveProtocol.door = Door({"/classify_text": "POST"}, Observer(metrics), got, Draining(None), lambda: None)
    return got


def test_the_time_in_the_kernel_counts() -> None:
    async def scenario() -> None:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for held_s in (0.0, 0.2):
                writer.write(request())
                time.sleep(held_s)  # the server's event loop, which is this one, does not look
                status, body = await response(reader)
                assert status == 200
                assert held_s * 1e3 - 2e3 * TICK_S <= float(body)
            writer.close()

    run(scenario)


def test_a_request_that_waits_for_its_connection_to_be_accepted_counts() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        client.sendall(b"data")
        time.sleep(0.1)
        accepted, _ = listening.accept()
        with accepted:
            assert waited_ms(accepted) >= 100 - 2e3 * TICK_S


def test_a_request_is_refused_unread_and_the_next_one_on_its_connection_is_answered(admission: Admission) -> None:
    async def scenario() -> None:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            first = overload(admission)
            for _ in range(3):
                writer.write(request())
                status, body = await response(reader)
                assert status == 503
                assert b"overloaded" in body
            admission.turns.end(first, time.monotonic())
            writer.write(request())
            assert (await response(reader))[0] == 200
            overload(admission)
            writer.write(request())
            assert (await response(reader))[0] == 503
            writer.close()

    run(scenario)
    assert admission.shed["normal"] == 4


def test_the_time_of_a_refused_request_is_not_that_of_the_next_one(admission: Admission) -> None:
    async def scenario() -> None:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request())
            await response(reader)
            now_s = time.monotonic()
            admission.turns.enter(first := Turn("text", 1.0, now_s, 50.0), now_s)
            writer.write(request())
            time.sleep(0.2)  # so the kernel is asked, and says that it came too long ago
            assert (await response(reader))[0] == 503
            admission.turns.end(first, now_s)
            await asyncio.sleep(0.2)
            writer.write(request())
            status, body = await response(reader)
            assert status == 200
            assert float(body) < 200, "since it came, not since the one before it"
            writer.close()

    run(scenario)


def test_a_request_in_pieces_is_read(admission: Admission) -> None:
    async def scenario() -> None:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = request()
            writer.write(sent[:40])
            await asyncio.sleep(0.05)
            overload(admission)
            writer.write(sent[40:])
            assert (await response(reader))[0] == 200, "the endpoint of this server refuses nothing"
            writer.close()

    run(scenario)


def test_connections_are_closed_when_nothing_has_come_since_the_last_refusal(admission: Admission) -> None:
    async def scenario() -> None:
        async with served(keep_alive_s=1) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            overload(admission)
            for _ in range(3):
                writer.write(request())
                assert (await response(reader))[0] == 503
                await asyncio.sleep(0.6)  # longer than the server waits, together
            assert await reader.read() == b""
            writer.close()

    run(scenario)


def test_one_who_comes_while_another_works_has_waited_since_then(admission: Admission) -> None:
    """Also where a third one waits, so that the event loop looks again before that one works."""

    async def scenario() -> None:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            turns, first, second = admission.turns, *(Turn("text", 1.0, time.monotonic(), 1e4) for _ in range(2))
            turns.enter(first, time.monotonic())
            turns.enter(second, time.monotonic())
            writer.write(request())
            time.sleep(0.1)  # the first one works
            turns.end(first, time.monotonic())
            turns.next(time.monotonic())
            admission.saw_budget(1e4, time.monotonic())
            status, body = await response(reader)
            assert status == 200
            assert float(body) >= 100 - 2e3 * TICK_S
            writer.close()

    run(scenario)


def test_a_request_that_offers_another_protocol_came_when_its_bytes_came() -> None:
    async def scenario() -> None:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(*OFFER))
            time.sleep(0.2)  # the server's event loop, which is this one, does not look
            status, body = await response(reader)
            assert status == 200
            assert float(body) >= 200 - 2e3 * TICK_S
            writer.close()

    run(scenario)


@pytest.mark.parametrize(
    ("taken", "local"),
    [(True, True), (False, True), (True, False)],
    ids=["somebody takes frames", "nobody does", "over TCP nobody does"],
)
def test_a_connection_that_begins_with_a_zero_byte_is_handed_over(tmp_path: Path, taken: bool, local: bool) -> None:
    path = tmp_path / "s" if local else None

    def take(connection: socket.socket, begun: bytes) -> None:
        with connection:
            connection.setblocking(True)
            connection.sendall(begun.upper())

    async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await (asyncio.open_unix_connection(path) if path else asyncio.open_connection("127.0.0.1", port))

    async def main() -> bytes:
        async with served(path=path) as port:
            reader, writer = await connected(port)
            writer.write(b"\0frame")
            said = await reader.read()
            writer.close()
            return said

    async def later() -> bytes:
        async with served(app=PlainTextResponse("said"), path=path) as port:
            reader, writer = await connected(port)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            await asyncio.sleep(0)
            writer.write(b"\0x")
            said = await reader.readline()
            writer.close()
            return said

    SieveProtocol.framed = staticmethod(take) if taken else None
    try:
        said = asyncio.run(main())
        if path:
            path.unlink()
        assert asyncio.run(later()).startswith(b"HTTP/1.1 200"), "only the first bytes of a connection begin a frame"
    finally:
        SieveProtocol.framed = None
    assert (said == b"\0FRAME") == (taken and local)
    assert said.startswith(b"HTTP/1.1 400") != (taken and local)
