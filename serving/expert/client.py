"""The way to an expert's process, or to its machines: one POST of raw arrays.

A call must cost far less than the model. aiohttp, BentoML's own client, took 0.3 ms of the API's process for each; this
one, around the parser that the server uses, a fifth of that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlparse

import httptools
import orjson

from serving.arrays import Array, Logits
from serving.errors import MalformedError, StageDownError, StageError, StageRefusedError
from serving.expert.wire import TOOK_HEADER, pack, unpack

# Shorter than the server's 5 seconds, so that the two do not meet when a connection is given up.
KEEP_ALIVE_S = 4.0
# Behind one name are many machines: in this time those that came lately get their share, at random from half of it on.
MAX_AGE_S = 30.0
CONNECT_LIMIT_S = 0.25
DESCRIBE_LIMIT_S = 0.5
TRIES = 3
OK, WRONG_ARTIFACT, UNAVAILABLE = 200, 412, 503

logger = logging.getLogger("sieve")


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    headers: dict[bytes, bytes]


class _WrongArtifactError(StageDownError):
    """What answered serves another artifact than the one that the operating point was chosen for."""


class RemoteExpert:
    """An expert behind `serving.http.expert_app`, at a URL: file:///path/to/socket, tcp://HOST:PORT, http://HOST:PORT.

    Each call asks for the artifact of this `digest` and takes an answer from no other. A call whose connection broke,
    or that met another artifact, is made again over a new one: it changes nothing in the expert, so twice does no harm.
    A name is looked up for each new connection, and its addresses are taken at random.
    """

    def __init__(self, url: str, tag: str, digest: str) -> None:
        self._place, self._tag = urlparse(url), tag
        self._etag = f'"{digest}"'.encode()
        host = (self._place.netloc or "expert").encode()
        self._common = b" HTTP/1.1\r\nHost: %b\r\nIf-Match: %b\r\n" % (host, self._etag)
        self._idle: list[_Connection] = []
        self._up = True

    async def __call__(self, items: Sequence[Array], traceparent: str | None = None) -> tuple[Logits, float]:
        """Prepared items -> logits [items, labels] and the milliseconds of the expert's own session.

        `traceparent` (W3C) goes along as a header.
        """
        message = pack(items)
        try:
            traced = b"traceparent: %b\r\n" % traceparent.encode() if traceparent else b""
            head = b"POST /infer%b%bContent-Length: %d\r\n\r\n" % (self._common, traced, len(message))
            reply = await self._ask(head + message)
            (logits,) = unpack(reply.body)
        except StageRefusedError:
            raise
        except (StageError, OSError, MalformedError) as error:
            self._fell(repr(error))
            raise StageDownError(f"{type(error).__name__}: {error}") from None
        except asyncio.CancelledError:  # the caller's limit of time for a call
            self._fell("no answer in time")
            raise
        if not self._up:
            logger.warning("%s answers again", self._tag)
        self._up = True
        return logits, float(reply.headers.get(TOOK_HEADER.encode(), 0.0))

    async def describe(self) -> dict[str, str]:
        """The variant that the expert runs and its execution provider, asked and got; or why that cannot be told."""
        try:
            async with asyncio.timeout(DESCRIBE_LIMIT_S):
                reply = await self._ask(b"GET /model%b\r\n" % self._common)
            return {str(name): str(value) for name, value in orjson.loads(reply.body).items()}
        except _WrongArtifactError as error:
            return {"error": str(error)}
        except (StageError, OSError, TimeoutError, MalformedError, ValueError) as error:
            return {"error": f"the expert does not answer ({type(error).__name__})"}

    async def close(self) -> None:
        """Give up the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _fell(self, reason: str) -> None:
        # Once for each outage: under load it would fill the log.
        if self._up:
            logger.warning("%s does not answer, its screen answers alone: %s", self._tag, reason)
        self._up = False

    async def _ask(self, request: bytes) -> _Reply:
        for _ in range(TRIES - 1):
            try:
                return await self._ask_once(request)
            except (ConnectionError, _WrongArtifactError):
                await self.close()  # those beside it lead to the same machine, likely
        return await self._ask_once(request)

    async def _ask_once(self, request: bytes) -> _Reply:
        connection = await self._connected()
        try:
            reply = await connection.ask(request)
        except BaseException:  # cancelled in the middle, too: what comes now would be taken for the next answer
            connection.close()
            raise
        theirs = reply.headers.get(b"etag")
        if reply.status == WRONG_ARTIFACT or (reply.status == OK and theirs != self._etag):
            connection.close()
            raise _WrongArtifactError(
                f"the expert serves artifact {_short(theirs)}, the operating point was chosen for "
                f"{_short(self._etag)}; it is not asked until both are of one run"
            )
        if connection.reusable:
            self._idle.append(connection)
        if reply.status == UNAVAILABLE:
            raise StageRefusedError("the expert is overloaded")
        if reply.status != OK:
            raise StageDownError(f"the expert answered with status {reply.status}")
        return reply

    async def _connected(self) -> _Connection:
        """A connection that was used lately, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            now = time.monotonic()
            if connection.reusable and now - connection.used_s < KEEP_ALIVE_S and now < connection.until_s:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        if self._place.scheme == "file":
            _, made = await loop.create_unix_connection(_Connection, unquote(self._place.path))
            return made
        host, port = self._place.hostname or "127.0.0.1", self._place.port or 80
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = random.sample(found, min(TRIES, len(found)))
        for *_, address in addresses[:-1]:
            try:
                return await _connect(address)
            except OSError:  # this one is gone; the next
                continue
        return await _connect(addresses[-1][4])


async def _connect(address: Sequence[Any]) -> _Connection:
    """OSError (TimeoutError is one) when nobody is there."""
    async with asyncio.timeout(CONNECT_LIMIT_S):
        _, made = await asyncio.get_running_loop().create_connection(_Connection, address[0], address[1])
    return made


def _short(etag: bytes | None) -> str:
    return (etag or b"without a name").decode(errors="replace").strip('"')[:12]


class _Connection(asyncio.Protocol):
    """One connection, one call at a time; a parser of httptools reads the replies."""

    def __init__(self) -> None:
        self.used_s = 0.0
        self.until_s = time.monotonic() + random.uniform(0.5, 1.0) * MAX_AGE_S
        self.reusable = True
        self._transport: Any = None
        self._reply: asyncio.Future[_Reply] | None = None

    async def ask(self, request: bytes) -> _Reply:
        """The reply to a whole HTTP request. ConnectionError when the connection breaks."""
        if not self.reusable:
            raise ConnectionResetError("the expert closed the connection")
        self._reply = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._transport.write(request)
        return await self._reply

    def close(self) -> None:
        self.reusable = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionResetError("the expert closed the connection"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._reply is not None and not self._reply.done():
                self._reply.set_exception(MalformedError("reply", f"must be HTTP, got something else ({error})"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.used_s = time.monotonic()
        self.reusable = self.reusable and self._parser.should_keep_alive()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(_Reply(self._parser.get_status_code(), bytes(self._body), self._headers))
