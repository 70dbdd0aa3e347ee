"""Calls to an expert that come as frames: a thread for each connection reads one, runs it and answers.

The API of this machine has one or two connections. Its thread sleeps in the kernel until a call is there, so a call
costs no turn of the event loop, and is handed over to no other thread.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from serving.errors import MalformedError
from serving.expert.frames import (
    CALL,
    CallFrame,
    ReplyFrame,
    call_size,
    pack_arrays,
    read_call,
    reply_bytes,
    unpack_arrays,
)
from serving.http.expert_app import timed_run
from serving.http.expert_models import ExpertModels
from serving.http.protocol import SieveProtocol

READ_BYTES = 65_536
END_LIMIT_S = 10.0
"""For how long the calls that run are waited for when the process ends; a budget is one second at most."""
GONE = select.POLLRDHUP
"""The caller has closed its end. That the connection broke is reported as well, whatever is asked."""

logger = logging.getLogger("sieve")


class FramedCalls:
    """Takes over connections, and runs their calls with `models`, one after the other in order of arrival."""

    def __init__(self, models: ExpertModels) -> None:
        self._models = models
        self._threads: dict[threading.Thread, socket.socket] = {}

    @contextmanager
    def served(self) -> Iterator[None]:
        """Take over connections of this process during the block; at its end let the calls that run end first."""
        SieveProtocol.framed = self.take
        try:
            yield
        finally:
            SieveProtocol.framed = None
            self._end()

    def take(self, connection: socket.socket, begun: bytes) -> None:
        """Answer the calls of a connection until its caller closes it. `begun`: what was read of it already."""
        thread = threading.Thread(target=self._serve, args=(connection, begun), name="framed", daemon=True)
        self._threads[thread] = connection
        thread.start()

    def _end(self) -> None:
        threads, until_s = dict(self._threads), time.monotonic() + END_LIMIT_S
        for connection in threads.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # its thread reads no other call
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _serve(self, connection: socket.socket, begun: bytes) -> None:
        try:
            with connection, suppress(OSError):
                connection.setblocking(True)
                gone = select.poll()
                gone.register(connection, GONE)
                data = bytearray(begun)
                while frame := _frame(connection, data):
                    reply = self._reply(read_call(frame), time.monotonic(), gone)
                    if reply is None:
                        return
                    connection.sendall(reply_bytes(reply))
        except MalformedError as error:
            logger.warning("a connection to the expert was closed: %s", error)
        finally:
            self._threads.pop(threading.current_thread(), None)

    def _reply(self, call: CallFrame, came_s: float, gone: select.poll) -> ReplyFrame | None:
        """The reply to a call that came at `came_s`; None if its caller has gone, and then it is not run."""
        found, digest = self._models.of_digest(call.digest), self._models.digest
        if found is None:
            return ReplyFrame(HTTPStatus.PRECONDITION_FAILED, digest)
        run, check = found
        try:
            items = unpack_arrays(call.message)
            check(items)
        except MalformedError:
            return ReplyFrame(HTTPStatus.BAD_REQUEST, call.digest)
        with self._models.turns:
            if gone.poll(0):
                return None
            if (time.monotonic() - came_s) * 1e3 > call.left_ms:
                return ReplyFrame(HTTPStatus.SERVICE_UNAVAILABLE, call.digest)
            try:
                ran = timed_run(run, self._models.tracer, items, call.traceparent, came_s)
            except Exception:  # whatever fails, the caller is told, and the next call is another one
                logger.exception("a call to the expert failed")
                return ReplyFrame(HTTPStatus.INTERNAL_SERVER_ERROR, call.digest)
        return ReplyFrame(HTTPStatus.OK, call.digest, pack_arrays([ran.logits]), ran.expert_ms, ran.waited_ms or 0.0)


def _frame(connection: socket.socket, data: bytearray) -> bytearray | None:
    """The next frame, of which `data` holds the beginning; None where the caller has closed the connection.

    Raises MalformedError for anything else.
    """
    while len(data) < CALL.size:
        if not (more := connection.recv(READ_BYTES)):
            return None
        data += more
    size = call_size(data)
    whole = bytearray(size)
    there = min(len(data), size)
    whole[:there] = data[:there]
    del data[:there]
    view = memoryview(whole)
    while there < size:
        if not (count := connection.recv_into(view[there:])):
            return None
        there += count
    return whole
