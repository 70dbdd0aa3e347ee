"""HTTP over kept connections, against real sockets that answer as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest

from loadtest.traffic.connections import Connections, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nserver-timing: total;dur=1\r\n\r\n{}"


class Place:
    """What came to a server: connections, and the head and body of each request."""

    def __init__(self) -> None:
        self.url, self.connections, self.requests = "", 0, list[tuple[bytes, bytes]]()


@contextlib.asynccontextmanager
async def served(*replies: bytes | None) -> AsyncIterator[Place]:
    """A server that answers the requests with these bytes in turn; None hangs up. Then it says nothing."""
    place, rest = Place(), list(replies)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while rest:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                place.requests.append((head, await reader.readexactly(size)))
                reply = rest.pop(0)
                if reply is None:
                    break
                writer.write(reply)
            else:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    place.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield place
    server.close()


async def post(connections: Connections, timeout_s: float = 20.0) -> Response:
    return await connections.post("/classify_text?a=1", "application/json", b'{"text": "x"}', timeout_s=timeout_s)


def test_requests_one_after_the_other_share_a_connection() -> None:
    async def talk() -> None:
        async with served(OK, OK, OK) as place:
            with contextlib.closing(Connections(f"{place.url}/below")) as connections:
                responses = [await post(connections) for _ in range(3)]
        assert responses == [Response(200, "total;dur=1", b"{}")] * 3
        assert place.connections == 1
        head, body = place.requests[0]
        assert head.startswith(b"POST /below/classify_text?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nContent-Type: application/json\r\n" in head
        assert body == b'{"text": "x"}'

    asyncio.run(talk())


def test_a_connection_that_the_server_gives_up_is_not_used_again() -> None:
    closing = OK.replace(b"200 OK\r\n", b"503 Busy\r\nConnection: close\r\n")

    async def talk() -> None:
        async with served(closing, OK, None, OK) as place:
            with contextlib.closing(Connections(place.url)) as connections:
                assert (await post(connections)).status == 503
                assert (await post(connections)).status == 200
                with pytest.raises(ConnectionError, match="closed the connection"):
                    await post(connections)
                assert (await post(connections)).status == 200
        assert place.connections == 3

    asyncio.run(talk())


def test_a_late_response_is_not_taken_for_the_next_one() -> None:
    async def talk() -> None:
        async with served(b"HTTP/1.1 200 OK\r\n", OK) as place:
            with contextlib.closing(Connections(place.url)) as connections:
                with pytest.raises(TimeoutError):
                    await post(connections, timeout_s=0.1)
                assert (await post(connections)).body == b"{}"
        assert place.connections == 2

    asyncio.run(talk())


@pytest.mark.parametrize("data", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
def test_what_is_no_http_is_a_broken_connection(data: bytes) -> None:
    async def talk() -> None:
        async with served(data) as place:
            with (
                contextlib.closing(Connections(place.url)) as connections,
                pytest.raises(ConnectionError, match="HTTP"),
            ):
                await post(connections)

    asyncio.run(talk())


def test_chunks_and_pieces_are_put_together() -> None:
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n4\r\na":1\r\n1\r\n}\r\n0\r\n\r\n'

    async def talk() -> None:
        async with served(chunked) as place:
            with contextlib.closing(Connections(place.url)) as connections:
                assert await post(connections) == Response(200, "", b'{"a":1}')

    asyncio.run(talk())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "no url", "ftp://127.0.0.1", "http://"])
def test_nobody_there_is_an_error_of_the_system(url: str) -> None:
    async def talk() -> None:
        with contextlib.closing(Connections(url)) as connections, pytest.raises(OSError, match=r"\w"):
            await post(connections)

    asyncio.run(talk())


def test_https_does_not_speak_plain_http() -> None:
    sent = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.extend(await reader.read(1))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def talk() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with contextlib.closing(Connections(url)) as connections, pytest.raises(ssl.SSLError):
            await post(connections)
        server.close()

    asyncio.run(talk())
    assert sent == b"\x16", "a handshake of TLS"
