"""Bytes over a connection to a server, and the answers that come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

import httptools

# Longer than a server waits for a head or a body.
LIMIT_S = 30.0
CLOSE = b"Connection: close\r\n"


@dataclass(slots=True)
class Answer:
    """One answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence of an error."""
        error = self.json()["error"]
        return str(error if isinstance(error, str) else error["message"])


class _Answers:
    """Collects answers; httptools calls the methods `on_…`."""

    def __init__(self) -> None:
        self.done: list[Answer] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> list[Answer]:
        self._parser.feed_data(data)
        return self.done

    def on_message_begin(self) -> None:
        self._now = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.status = self._parser.get_status_code()
        if self._now.status != 100:
            self.done.append(self._now)


def answers_in(data: bytes) -> list[Answer]:
    """All answers in what a server sent; what follows them must be HTTP, too."""
    return _Answers().feed(data)


def place_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlparse(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST, after whose answer the server closes the connection."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode("latin-1")
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
        *(path.encode(), CLOSE, lines, len(body), body),
    )


def sent(url: str, data: bytes, *, half_closed: bool = False) -> list[Answer]:
    """The answers to bytes, when the server has closed the connection."""
    got = b""
    with socket.create_connection(place_of(url), timeout=LIMIT_S) as connection:
        try:
            connection.sendall(data)
            if half_closed:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                got += piece
        except ConnectionError:
            pass  # it was closed before all was sent
    return answers_in(got)


class _Received(asyncio.Protocol):
    """All that comes over a connection. A stream of asyncio loses what came before a reset."""

    def __init__(self) -> None:
        self.got, self.closed = b"", asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


async def sent_patiently(
    place: tuple[str, int], *pieces: bytes, patience_s: float, pause_s: float = 0.0
) -> list[Answer]:
    """The same for pieces with pauses between, after which the server may wait for more: for so many seconds."""
    transport, received = await asyncio.get_running_loop().create_connection(_Received, *place)
    try:
        for piece in pieces:
            transport.write(piece)
            await asyncio.sleep(pause_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await received.closed.wait()
    finally:
        transport.close()
    return answers_in(received.got)
