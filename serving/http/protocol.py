"""The server's side of an HTTP connection: it tells when a request came, and refuses some unread.

Subclasses uvicorn's protocol, because an ASGI application sees a request only after it was parsed and has got a task.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from asyncio import Transport
from collections.abc import Callable

from uvicorn.config import HTTP_PROTOCOLS

from serving.http.door import Door
from serving.http.guard import ARRIVED
from serving.http.http_one import HttpOneProtocol

# `tcpi_last_data_recv` of struct tcp_info (linux/tcp.h): milliseconds since the last data came.
LAST_DATA_AT, LAST_DATA = 52, struct.Struct("I")
# The kernel counts them in ticks, whose length is the step of CLOCK_MONOTONIC_COARSE (6 in linux/time.h).
TICK_S = time.clock_getres(6)


def waited_ms(connection: socket.socket) -> float:
    """Milliseconds since the kernel received the last data of a TCP connection; 0 if it may be less than a tick.

    This is the only measure of what a request waits while the process does not run, or the event loop does not look.
    It may be wrong by one tick (1 to 10 ms).
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_AT + LAST_DATA.size)
    ms: int = LAST_DATA.unpack_from(info, LAST_DATA_AT)[0]
    return ms if ms > TICK_S * 1e3 else 0.0


class SieveProtocol(HttpOneProtocol):
    """A connection of a client. `door` refuses requests for all connections of the process, once there is one."""

    door: Door | None = None
    framed: Callable[[socket.socket, bytes], None] | None = None
    """Takes over a connection whose first bytes are no HTTP but a frame (`serving.expert.frames`), if anybody does."""
    keep_alive_s: int | None = None
    """For how long all connections of the process are kept when idle; None leaves that to uvicorn's configuration."""
    _connection: socket.socket | None = None
    _refused_s = 0.0
    _came_s: float | None = None
    """When the request came whose first bytes are parsed next, if that is known already."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        if self.keep_alive_s is not None:
            self.timeout_keep_alive = self.keep_alive_s
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            self._connection = connection
        if self.door is not None:
            self.door.connection_made()

    def data_received(self, data: bytes) -> None:
        """Refuse the request that `data` holds, or parse it."""
        if data[0] == 0 and self._is_framed(data):
            return
        door = self.door
        if door is not None and door.looked() and self._between_requests():
            response = door.refuse(data, self._arrived_s, self.server_state.default_headers)
            if response is not None:
                self._came_s = None
                self.transport.write(response)
                self._keep_alive()
                return
        super().data_received(data)

    def _is_framed(self, data: bytes) -> bool:
        """Hand over a connection on which frames begin; whether it is one."""
        taker = type(self).framed
        if taker is None or self.scope is not None:
            return False
        # uvloop's own is no socket. The transport closes this descriptor, the other one stays open.
        there = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        if there.family != socket.AF_UNIX:  # a frame's head may claim much memory: for processes of this bundle alone
            there.close()
            return False
        self.transport.abort()
        taker(there, data)
        return True

    def on_message_begin(self) -> None:
        """A request begins: note when it came."""
        super().on_message_begin()
        if self._connection is not None:
            came_s, self._came_s = self._came_s or self._arrived_s(), None
            self.scope[ARRIVED] = came_s  # type: ignore[literal-required]  # a key of our own

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing has come for a while, unless its last request was refused here."""
        left_s = self._refused_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _begin_again(self) -> None:
        self._came_s = self.scope.get(ARRIVED)  # type: ignore[assignment]  # a key of our own
        super()._begin_again()

    def _arrived_s(self) -> float:
        """When the request came whose first bytes have just been read."""
        came_s, door = time.monotonic(), self.door
        # What has come since the last look, a tick ago at most, the kernel cannot tell any better.
        if self._connection is not None and (door is None or came_s - door.turns.looked_s > TICK_S):
            came_s -= waited_ms(self._connection) / 1e3
        self._came_s = came_s
        return came_s

    def _between_requests(self) -> bool:
        """Whether the last request was read and answered, nothing of another one has come, and the client reads."""
        cycle = self.cycle
        if cycle is None:
            answered = self.scope is None
        else:
            answered = cycle.response_complete and not cycle.more_body and self.scope is cycle.scope
        return answered and not self.flow.write_paused and not self.transport.is_closing()

    def _keep_alive(self) -> None:
        """The timer that closes an idle connection: it runs already after a response that uvicorn has sent."""
        self.server_state.total_requests += 1
        self._refused_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


def install_protocol(keep_alive_s: int | None = None) -> None:
    """Make uvicorn take this protocol for connections in this process, and keep idle ones for so many seconds.

    Call it before a server is configured.
    """
    SieveProtocol.keep_alive_s = keep_alive_s
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{SieveProtocol.__name__}"
