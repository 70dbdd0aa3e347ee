"""A response of known length is sent in one call: its head waits for the first piece of its body.

uvicorn writes the head of a response as soon as the application has said it, and uvloop sends each write at once: two
system calls, two packets, and a client that wakes twice.
"""

from __future__ import annotations

from asyncio import Transport

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class OneWrite:
    """The transport of a connection, as the response of one request writes to it."""

    __slots__ = ("_begun", "_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: Transport) -> None:
        self._cycle, self._transport = cycle, transport
        self._begun, self._head = False, b""

    def write(self, data: bytes) -> None:
        """Send `data`, and what waits; let it wait if it is a head that a body is sure to follow."""
        cycle = self._cycle
        if not self._begun and cycle.response_started:
            self._begun = True
            # A length is known only from the head that says it. A request for the head alone gets no body.
            if cycle.chunked_encoding is False and cycle.expected_content_length and cycle.scope["method"] != "HEAD":
                self._head = data
                return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def close(self) -> None:
        """Send what waits, where no body came, and close the connection."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()
