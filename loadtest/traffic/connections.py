"""HTTP/1.1 over kept connections, with little work for each request.

A busy generator sees answers late, and where it shares a machine it takes the service's processor time. At 1,000
requests/s one request costs it 0.16 ms of a core, where aiohttp takes 0.3; at 6,000/s, which aiohttp cannot send, 0.05.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.inference import HEADER_LENGTH

# Shorter than uvicorn's 5 seconds, so that the server never closes a connection that the client is about to use.
KEEP_ALIVE_S = 4.0


class Response(NamedTuple):
    """A response: its status, its Server-Timing header, and its body.

    `json_bytes`: how much of the body is JSON, where the server says that binary tensors follow it.
    """

    status: int
    timing: str
    body: bytes
    json_bytes: int | None = None


class Connection(asyncio.Protocol):
    """One connection, for one request at a time. `httptools` parses the responses and calls the methods `on_…`."""

    def __init__(self) -> None:
        self.reusable, self.used_s = True, 0.0
        self._transport: asyncio.Transport
        self._response: asyncio.Future[Response] | None = None

    async def ask(self, request: bytes) -> Response:
        """Send a whole request. Raises ConnectionError when the connection breaks or the response is no HTTP."""
        if not self.reusable:
            raise ConnectionResetError("the server closed the connection")
        self._response = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._timing, self._body = "", b""
        self._json_bytes: int | None = None
        self._transport.write(request)
        return await self._response

    def close(self) -> None:
        """Close it for good."""
        self.reusable = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the server closed the connection")

    def data_received(self, data: bytes) -> None:
        if self._response is None:  # nothing was asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the response is no HTTP ({error})")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"server-timing":
            self._timing = value.decode("latin-1")
        elif name == HEADER_LENGTH and value.isdigit():
            self._json_bytes = int(value)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.used_s = time.monotonic()
        self.reusable = self.reusable and self._parser.should_keep_alive()
        if self._response is not None and not self._response.done():
            status = self._parser.get_status_code()
            self._response.set_result(Response(status, self._timing, self._body, self._json_bytes))

    def _fail(self, why: str) -> None:
        self.reusable = False
        if self._response is not None and not self._response.done():
            self._response.set_exception(ConnectionResetError(why))


class Connections:
    """The connections to one URL, http or https. A request takes one that is idle, or opens another."""

    def __init__(self, url: str, credentials: Credentials = NO_CREDENTIALS) -> None:
        self._place = urlsplit(url)
        self._tls = credentials.context() if self._place.scheme == "https" else None
        self._lines = credentials.lines()
        self._host, self._prefix = self._place.netloc.encode(), self._place.path.encode()
        self._idle: list[Connection] = []

    async def post(
        self, path: str, content_type: str, body: bytes, *, timeout_s: float, json_bytes: int | None = None
    ) -> Response:
        """The response to a POST, of whose body so much is JSON where binary tensors follow it.

        Raises TimeoutError after `timeout_s`, and OSError where no response can come.
        """
        more = self._lines if json_bytes is None else self._lines + b"%b: %d\r\n" % (HEADER_LENGTH, json_bytes)
        head = b"POST %b%b HTTP/1.1\r\nHost: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (
            *(self._prefix, path.encode(), self._host, content_type.encode(), len(body), more),
        )
        async with asyncio.timeout(timeout_s):
            connection = await self._take()
            try:
                response = await connection.ask(head + body)
            except BaseException:  # also at the timeout: a late response would be taken for that of the next request
                connection.close()
                raise
        if connection.reusable:
            self._idle.append(connection)
        return response

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and time.monotonic() - connection.used_s < KEEP_ALIVE_S:
                return connection
            connection.close()
        if self._place.scheme not in ("http", "https") or self._place.hostname is None:
            raise ConnectionError("the address is no URL of http or https")
        port = self._place.port or (443 if self._tls else 80)
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Connection, self._place.hostname, port, ssl=self._tls)
        return made
