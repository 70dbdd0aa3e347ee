"""Sends the head of a response together with its body: one system call and one packet instead of two.

The head is small, so without this a client is woken for it and finds no answer. ASGI tells servers to wait for the body
anyway (`http.response.start` in its specification); uvicorn does not.
"""

from __future__ import annotations

from asyncio import Transport

# What uvicorn writes to a client that waits before it sends its body, before any response.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class OneWrite:
    """The part of `transport` that one response of uvicorn uses. It holds the head back until the body is written.

    Not for HEAD, whose response has no body.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Hold the first piece; write it with the second one; write all others."""
        if self._head is None and data != CONTINUE:
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def close(self) -> None:
        """Write what is held, and close."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""
        self._transport.close()
