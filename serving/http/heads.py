"""Bounds the heads of requests: their lines, their bytes, and the time that they take to come.

uvicorn bounds none of them. A head without an end would take all memory, and one that comes a byte at a time would hold
its connection for ever. uvicorn also adds the trailers behind a chunked body to the headers, where a client could state
what a proxy checks or sets in heads. They are dropped here (RFC 9110, 6.5.1).
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from serving.errors import MalformedError, TooLargeError
from serving.http.guard import problem, sound_id, to_bytes
from serving.http.unread import BoundedAnswers

MAX_HEADERS = 100
MAX_HEAD_BYTES = 65_536
HEAD_LIMIT_S = 8.0
UNREADABLE = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n%b"
RULE = f"must have at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES:,} bytes, got more; send fewer headers"


class _Dropped(list[tuple[bytes, bytes]]):
    """Headers that are not kept."""

    def append(self, header: tuple[bytes, bytes]) -> None:
        """Drop the header."""


TRAILERS = _Dropped()


class BoundedHeads(BoundedAnswers):
    """A connection whose requests have bounded heads. What it refuses unread gets its answer in turn."""

    _head_timer: TimerHandle | None = None
    _unknown_bytes = 0
    """Bytes that came since the last whole head and the last piece of a body: those of a head, or of trailers."""
    _last_words: bytes | None = None
    """The answer to what was refused, after which the connection is closed."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        """A client has connected. If it never says anything, it is idle like one that has been answered."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended. Its timers would keep it in memory; uvicorn keeps its own after an error."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_head_timer()

    def on_headers_complete(self) -> None:
        """A head is whole. Raises TooLargeError if it is too large, MalformedError if too many requests wait."""
        # To add up the bytes takes time, and so many have hardly ever come.
        if len(self.headers) > MAX_HEADERS or (self._unknown_bytes > MAX_HEAD_BYTES < self._head_bytes()):
            raise TooLargeError("head", RULE)
        if self.pipeline:
            self.require_few_waiting()
        self._unknown_bytes = 0
        if self._head_timer is not None:
            self._stop_head_timer()
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            self.headers = TRAILERS

    def on_body(self, body: bytes) -> None:
        """A piece of a body has come."""
        self._unknown_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """A request was answered. What was refused is next if no other request is before it."""
        if self._last_words is None:
            return super().on_response_complete()
        is_next = not self.pipeline
        super().on_response_complete()
        if is_next:
            self._say_last_words()

    def parsed(self) -> None:
        """All that came was parsed. Refuse a head or trailers that grow too large, and wait for the rest of a head."""
        if self._unknown_bytes > MAX_HEAD_BYTES:
            self.refuse(431, str(TooLargeError("head", RULE)))
        elif self._head_timer is None and self._head_is_open():
            self._unset_keepalive_if_required()
            self._head_timer = self.loop.call_later(HEAD_LIMIT_S, self._head_is_late)

    def refuse_unread(self, error: HttpParserError) -> None:
        """Refuse what the parser could not read, or what raised this in a callback of it."""
        if isinstance(error.__context__, TooLargeError):
            self.refuse(431, str(error.__context__))
        elif isinstance(error.__context__, MalformedError):
            self.refuse(400, str(error.__context__))
        else:
            said = f"got one that cannot be read ({error}); let an HTTP client make it"
            self.refuse(400, f"the request must be HTTP/1.1, {said}")

    def refuse(self, status: int, message: str) -> None:
        """Refuse what came last, in the shape of all errors, and close the connection.

        Requests that came before it are answered first, since a client takes answers for those to its requests in
        their order.
        """
        if self._last_words is not None or self.transport.is_closing():
            return
        self._stop_head_timer()
        self._last_words = self._answer(status, message)
        cycle = self.cycle
        if cycle is None:
            return self._say_last_words()
        broken = cycle.more_body and not self._head_is_open()  # what came last is a part of its own body
        if broken and self.pipeline:
            self.pipeline.popleft()
        elif broken and cycle.response_started:
            self.close()
        elif broken or cycle.response_complete:
            self._say_last_words()

    def _answer(self, status: int, message: str) -> bytes:
        request_id = sound_id("")
        body = to_bytes(problem(message, request_id))
        head = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        return b"".join(head) + UNREADABLE % (len(body), request_id.encode(), body)

    def _say_last_words(self) -> None:
        if not self.transport.is_closing():
            assert self._last_words is not None, "something was refused"
            self.transport.write(self._last_words)
            self.close()

    def _head_is_open(self) -> bool:
        """Whether a head has begun and has not ended."""
        cycle = self.cycle
        return self.scope is not (None if cycle is None else cycle.scope)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.refuse(
            408,
            f"the head of a request must arrive within {HEAD_LIMIT_S:.0f} seconds, got a part of it; send it at once",
        )

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
