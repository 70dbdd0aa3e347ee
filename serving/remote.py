"""The way to an expert's process: one POST of raw arrays over its socket.

A call must cost far less than the model. aiohttp, BentoML's own client, took 0.3 ms of the API's process for each; this
one, around the parser that the server uses, a fifth of that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlparse

import httptools
import numpy as np
from numpy.typing import NDArray

from serving.errors import MalformedError, StageDownError, StageError, StageRefusedError
from serving.expert_app import TOOK_HEADER
from serving.wire import pack, unpack

Array = NDArray[Any]
Logits = NDArray[np.float32]
# Shorter than the server's 5 seconds, so that the two do not meet when a connection is given up.
KEEP_ALIVE_S = 4.0
OK, UNAVAILABLE = 200, 503
HEAD = b"POST /infer HTTP/1.1\r\nHost: expert\r\n"

logger = logging.getLogger("sieve")


class RemoteExpert:
    """An expert behind `serving.expert_app`, at a URL as BentoML gives it: file:///path/to/socket, tcp:// or http://.

    A call whose connection broke is made once more: it changes nothing in the expert, so twice does no harm.
    """

    def __init__(self, url: str, tag: str) -> None:
        self._place, self._tag = urlparse(url), tag
        self._idle: list[_Connection] = []
        self._up = True

    async def __call__(self, items: Sequence[Array], traceparent: str | None = None) -> tuple[Logits, float]:
        """Prepared items -> logits [items, labels] and the milliseconds of the expert's own session.

        `traceparent` (W3C) goes along as a header.
        """
        message = pack(items)
        try:
            try:
                answer = await self._post(message, traceparent)
            except ConnectionError:
                answer = await self._post(message, traceparent)
        except StageRefusedError:
            raise
        except (StageError, OSError, MalformedError) as error:
            # Once for each outage: under load it would fill the log.
            if self._up:
                logger.warning("%s does not answer, its screen answers alone: %r", self._tag, error)
            self._up = False
            raise StageDownError(f"{type(error).__name__}: {error}") from None
        if not self._up:
            logger.warning("%s answers again", self._tag)
        self._up = True
        return answer

    async def close(self) -> None:
        """Give up the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    async def _post(self, message: bytes, traceparent: str | None) -> tuple[Logits, float]:
        connection = await self._connected()
        try:
            status, body, took_ms = await connection.post(message, traceparent)
        except BaseException:  # cancelled in the middle, too: what comes now would be taken for the next answer
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        if status == UNAVAILABLE:
            raise StageRefusedError("the expert is overloaded")
        if status != OK:
            raise StageDownError(f"the expert answered with status {status}")
        (logits,) = unpack(body)
        return logits, took_ms

    async def _connected(self) -> _Connection:
        """A connection that was used lately, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and time.monotonic() - connection.used_s < KEEP_ALIVE_S:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        if self._place.scheme == "file":
            _, made = await loop.create_unix_connection(_Connection, unquote(self._place.path))
        else:
            host, port = self._place.hostname or "127.0.0.1", self._place.port or 80
            _, made = await loop.create_connection(_Connection, host, port)
        return made


class _Connection(asyncio.Protocol):
    """One connection, one call at a time; a parser of httptools reads the replies."""

    def __init__(self) -> None:
        self.used_s = 0.0
        self.reusable = True
        self._transport: Any = None
        self._reply: asyncio.Future[tuple[int, bytes, float]] | None = None

    async def post(self, message: bytes, traceparent: str | None) -> tuple[int, bytes, float]:
        """Status, body, and the milliseconds that the expert states. ConnectionError when it breaks."""
        self._reply = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._took_ms = bytearray(), 0.0
        traced = f"traceparent: {traceparent}\r\n".encode() if traceparent else b""
        self._transport.write(b"%bContent-Length: %d\r\n%b\r\n%b" % (HEAD, len(message), traced, message))
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
        if name.lower() == TOOK_HEADER.encode():
            self._took_ms = float(value)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.used_s = time.monotonic()
        self.reusable = self.reusable and self._parser.should_keep_alive()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result((self._parser.get_status_code(), bytes(self._body), self._took_ms))
