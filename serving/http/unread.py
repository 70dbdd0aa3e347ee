"""Bounds what waits to be sent: a client that never reads its answers loses its connection, and what waits for it.

uvicorn stops to answer a connection on which 64 kB wait to be sent, and then waits for ever: it has no limit of time,
it closes an idle connection only after all was sent, and keeps every pipelined request that came with the first.
"""

from __future__ import annotations

import socket
import struct
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.errors import MalformedError

UNREAD_LIMIT_S = 30.0
MAX_PIPELINED = 100
"""Requests of one connection that wait for the answers to those before. Each takes more memory than its bytes."""
RESET = struct.pack("ii", 1, 0)
"""A linger of no seconds (socket(7)): else the kernel would go on to offer the client what it holds, some megabytes."""


class BoundedAnswers(HttpToolsProtocol):
    """A connection whose answers are read in time, or it is cut off."""

    _unread_timer: TimerHandle | None = None
    _answered: RequestResponseCycle | None = None
    """The request that is answered now. uvicorn's `cycle` is the last one that came."""

    def pause_writing(self) -> None:
        """Too much waits to be sent: no request is answered until the client has read some of it."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_unread_timer()

    def on_response_complete(self) -> None:
        """A request was answered; where the connection ends with it, the answer must be read first."""
        super().on_response_complete()
        self._await_last_reader()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing has come for a while."""
        super().timeout_keep_alive_handler()
        self._await_last_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, also for a request that others have come behind, which uvicorn would answer."""
        self._nobody_reads()
        super().connection_lost(exc)
        self._stop_unread_timer()

    def close(self) -> None:
        """Close the connection once the client has read what waits, but in time."""
        self.transport.close()
        self._await_last_reader()

    def require_few_waiting(self) -> None:
        """Raise MalformedError if too many requests wait for the answers to those before."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise MalformedError(
                "pipeline", f"at most {MAX_PIPELINED} requests may wait on a connection, got more; await answers"
            )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _nobody_reads(self) -> None:
        cycle = self._answered
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _await_last_reader(self) -> None:
        if self.transport.is_closing():
            self._await_reader()

    def _await_reader(self) -> None:
        if self._unread_timer is None and self.transport.get_write_buffer_size():
            self._unread_timer = self.loop.call_later(UNREAD_LIMIT_S, self._cut_off)

    def _cut_off(self) -> None:
        self._nobody_reads()  # the connection is lost in a later turn of the event loop
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
