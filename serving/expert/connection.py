"""Connections over HTTP/1.1 to the process of an expert, or to its machines behind one name.

A call must cost far less than the model. aiohttp, BentoML's own client, took 0.3 ms of the API's process for each. This
client, around the parser that the server uses, takes a fifth of that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import unquote, urlparse

import httptools

from serving.errors import MalformedError
from serving.expert.outliers import Outliers
from serving.expert_tls import SYSTEM, ExpertTls

# Shorter than the 5 seconds of uvicorn and other servers, so that no request is sent while a server closes its
# connection. Our own keep them longer (serving.http.keep_alive).
KEEP_ALIVE_S = 4.0
# A connection lasts for a random time between half of this and all of it. So machines that are added behind a name get
# their share of the calls soon.
MAX_AGE_S = 30.0
CONNECT_LIMIT_S = 0.25
TLS_CONNECT_LIMIT_S = 0.5
MAX_ADDRESSES = 3
# Logits of the largest call are far fewer. What sends without end must not fill the memory of the API.
MAX_REPLY_BYTES = 16 * 1024 * 1024

Ended = Callable[[int, float, bool], None]

logger = logging.getLogger("sieve")


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its status, body, and headers with names in lower case."""

    status: int
    body: bytes
    headers: dict[bytes, bytes]


class Connection(asyncio.Protocol):
    """One connection, for one request at a time. `httptools` parses the responses and calls the methods `on_…`.

    `ended` is told of each request: its bytes, how many seconds it took, and whether it failed.
    """

    def __init__(self, address: str = "", ended: Ended | None = None) -> None:
        self.reusable, self.address, self._ended = True, address, ended
        self._used_s = 0.0
        self._until_s = time.monotonic() + random.uniform(0.5, 1.0) * MAX_AGE_S  # nosec B311 # no secret
        self._transport: asyncio.Transport
        self._reply: asyncio.Future[Reply] | None = None

    def is_fresh(self, now_s: float) -> bool:
        """Whether the server is likely to answer another request on this connection."""
        return self.reusable and now_s - self._used_s < KEEP_ALIVE_S and now_s < self._until_s

    async def ask(self, request: bytes) -> Reply:
        """Send a whole request. Raises ConnectionError when the connection breaks, MalformedError for another reply."""
        if not self.reusable:
            raise ConnectionResetError("the expert closed the connection")
        self._reply = asyncio.get_running_loop().create_future()
        self.begin()
        begin_s, failed = time.monotonic(), False
        self._transport.write(request)
        try:
            return await self._reply
        except Exception:
            failed = True
            raise
        finally:  # also when it is given up, which took at least so long
            if self._ended is not None:
                self._ended(len(request), time.monotonic() - begin_s, failed)

    def begin(self) -> None:
        """Forget the last reply."""
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._received = 0
        self._headers: dict[bytes, bytes] = {}

    def close(self) -> None:
        """Close it for good."""
        self.reusable = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionResetError("the expert closed the connection"))

    def data_received(self, data: bytes) -> None:
        reply, against = self._reply, ""
        if reply is None or reply.done():  # nothing was asked
            return self.close()
        self._received += len(data)
        if self._received > MAX_REPLY_BYTES:
            against = f"must have at most {MAX_REPLY_BYTES:,} bytes, got more"
        else:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                against = f"must be HTTP, got something else ({error})"
        if against:
            if not reply.done():
                reply.set_exception(MalformedError("reply", against))
            self.close()
        return None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._used_s = time.monotonic()
        self.reusable = self.reusable and self._parser.should_keep_alive()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(Reply(self._parser.get_status_code(), bytes(self._body), self._headers))


class Connections:
    """The connections to one URL: file:///path/to/socket, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT.

    A name is looked up for each new connection. It may have many addresses, which are tried in random order. The
    certificate of https must be for the URL's host, and signed by an authority of `tls`. `local` makes a connection to
    a socket of this machine.
    """

    def __init__(self, url: str, tls: ExpertTls = SYSTEM, local: Callable[[], Connection] = Connection) -> None:
        self._place, self._local = urlparse(url), local
        self._tls = tls.context() if self._place.scheme == "https" else None
        self._idle: list[Connection] = []
        self._outliers = Outliers()

    @property
    def host(self) -> str:
        """The value of a `Host` header."""
        return self._place.netloc or "expert"

    async def take(self) -> Connection:
        """An idle connection that is fresh, or a new one. Raises OSError when nobody is there."""
        while self._idle:
            connection = self._idle.pop()
            now_s = time.monotonic()
            if connection.is_fresh(now_s) and not self._outliers.rests(connection.address, now_s):
                return connection
            connection.close()
        return await self._connect()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, unless the server closes it."""
        if connection.reusable:
            self._idle.append(connection)

    def close_idle(self) -> None:
        """Close the connections that nobody uses now."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if self._place.scheme == "file":
            _, made = await loop.create_unix_connection(self._local, unquote(self._place.path))
            return made
        host, port = self._place.hostname or "127.0.0.1", self._place.port or (443 if self._tls else 80)
        addresses = self._in_turn(await self._addresses(host, port))
        for address in addresses[:-1]:
            try:
                return await self._connect_to(address)
            except OSError:
                continue
        return await self._connect_to(addresses[-1])

    async def _addresses(self, host: str, port: int) -> list[Sequence[Any]]:
        """All addresses that a name has now."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [address for *_, address in found]

    def _in_turn(self, addresses: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """Some of these in random order; those of machines that rest come last."""
        now_s = time.monotonic()
        self._outliers.only({address[0] for address in addresses})
        mixed = random.sample(addresses, len(addresses))  # nosec B311 # no secret
        return sorted(mixed, key=lambda address: self._outliers.rests(address[0], now_s))[:MAX_ADDRESSES]

    def _told(self, address: str, size: int, took_s: float, failed: bool) -> None:
        rest_s = self._outliers.ended(address, size, took_s, time.monotonic(), failed=failed)
        if rest_s:
            logger.warning(
                "%s fails or is far slower than other machines of %s, and is left alone for %.0f s",
                *(address, self.host, rest_s),
            )

    async def _connect_to(self, address: Sequence[Any]) -> Connection:
        """Connect to a pair of host and port, as `getaddrinfo` gives it.

        Raises OSError (or one of its subclasses, TimeoutError and ssl.SSLError).
        """
        loop, name = asyncio.get_running_loop(), self._place.hostname if self._tls else None
        made_for = partial(Connection, address[0], partial(self._told, address[0]))
        async with asyncio.timeout(TLS_CONNECT_LIMIT_S if self._tls else CONNECT_LIMIT_S):
            _, made = await loop.create_connection(
                made_for, address[0], address[1], ssl=self._tls, server_hostname=name
            )
        return made
