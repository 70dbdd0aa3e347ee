"""Connections that are kept, given up, or broken; on uvloop, as in service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from serving.errors import MalformedError
from serving.expert.connection import Connections

REQUEST = b"GET / HTTP/1.1\r\nHost: expert\r\n\r\n"


class Server(asyncio.Protocol):
    """Sends `answer` for whatever it receives, and closes the connection after an empty one."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Name: v\r\n\r\nhi"
    connected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        type(self).connected += 1

    def data_received(self, data: bytes) -> None:
        if self.answer:
            self.transport.write(self.answer)  # type: ignore[attr-defined]  # uvloop's transports have no common class
        else:
            self.transport.close()


def play(path: Path, answer: bytes, asks: int = 1) -> tuple[list[bytes], int]:
    """The bodies that so many requests got, and how many connections they took."""

    class Here(Server):
        pass

    Here.answer = answer

    async def main() -> list[bytes]:
        server = await asyncio.get_running_loop().create_unix_server(Here, str(path))
        connections, bodies = Connections(f"file://{path}"), []
        for _ in range(asks):
            connection = await connections.take()
            reply = await connection.ask(REQUEST)
            assert (reply.status, reply.headers[b"x-name"]) == (200, b"v")
            bodies.append(reply.body)
            connections.give_back(connection)
        connections.close_idle()
        server.close()
        return bodies

    return uvloop.run(main()), Here.connected


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    assert play(tmp_path / "s", Server.answer, asks=3) == ([b"hi"] * 3, 1)


def test_a_connection_that_the_server_closes_is_not_used_again(tmp_path: Path) -> None:
    closing = Server.answer.replace(b"X-Name", b"Connection: close\r\nX-Name")
    assert play(tmp_path / "s", closing, asks=3) == ([b"hi"] * 3, 3)


def test_a_broken_connection_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError, match="the expert closed the connection"):
        play(tmp_path / "s", b"")


def test_a_reply_that_is_not_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="must be HTTP"):
        play(tmp_path / "s", b"nonsense\r\n\r\n")
