"""Calls to an expert that come as frames: one thread waits for all connections, reads a call, runs it and answers.

It sleeps in the kernel until a call is there, so a call costs no turn of the event loop, and is handed over to no other
thread. A thread for each connection was slower by a tenth where two calls are under way: the model ran in one thread
after the other, and its data moved between the cores. An expert with several lanes has as many threads.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
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
SEND_LIMIT_S = 0.1
"""A caller that is stopped does not read. Only a reply larger than the socket's buffer can wait for it."""
READABLE = select.EPOLLIN | select.EPOLLONESHOT
"""One thread is told of a connection, and no other until it is asked for again."""
GONE = select.POLLRDHUP
"""The caller has closed its end. That the connection broke is reported as well, whatever is asked."""

logger = logging.getLogger("sieve")


class _Connection:
    """A connection of a caller, and what has come of its next call. `begun`: the first bytes of it."""

    def __init__(self, end: socket.socket, begun: bytes) -> None:
        end.settimeout(SEND_LIMIT_S)
        self._end, self._begun, self._whole, self._there = end, bytearray(begun), bytearray(), 0
        self._gone = select.poll()
        self._gone.register(end, GONE)

    def read(self) -> bytearray | None:
        """The frame of a call once it is whole, until then None. It does not wait.

        Raises EOFError when the caller has closed the connection, OSError when it is broken, and MalformedError for
        anything but a frame.
        """
        with suppress(BlockingIOError):
            while len(self._begun) < CALL.size:
                if not (more := self._end.recv(READ_BYTES, socket.MSG_DONTWAIT)):
                    raise EOFError
                self._begun += more
            if not self._whole:
                self._whole = bytearray(call_size(self._begun))
                self._there = min(len(self._begun), len(self._whole))
                self._whole[: self._there] = self._begun[: self._there]
            view = memoryview(self._whole)
            while self._there < len(self._whole):
                if not (count := self._end.recv_into(view[self._there :], 0, socket.MSG_DONTWAIT)):
                    raise EOFError
                self._there += count
            frame, self._begun, self._whole = self._whole, self._begun[len(self._whole) :], bytearray()
            return frame
        return None

    @property
    def begun(self) -> bool:
        """Whether bytes of a next call have been read."""
        return bool(self._begun)

    @property
    def gone(self) -> bool:
        """Whether the caller has closed its end."""
        return bool(self._gone.poll(0))

    def answer(self, reply: ReplyFrame) -> None:
        """Send a reply. Raises OSError (TimeoutError) when the caller does not take it."""
        self._end.sendall(reply_bytes(reply))

    def close(self) -> None:
        self._end.close()


class FramedCalls:
    """Takes over connections, and runs their calls with `models`, in order of arrival."""

    def __init__(self, models: ExpertModels) -> None:
        self._models, self._ready = models, select.epoll()
        self._connections: dict[int, _Connection] = {}

    @contextmanager
    def served(self) -> Iterator[None]:
        """Take over connections of this process during the block; at its end answer the calls that are there first."""
        threads = [threading.Thread(target=self._serve, name="framed", daemon=True) for _ in range(self._models.lanes)]
        for thread in threads:
            thread.start()
        SieveProtocol.framed = self.take
        try:
            yield
        finally:
            SieveProtocol.framed = None
            self._end(threads)

    def take(self, end: socket.socket, begun: bytes) -> None:
        """Answer the calls of a connection until its caller closes it. `begun`: what was read of it already."""
        self._connections[end.fileno()] = _Connection(end, begun)
        # A frame that is there as a whole makes nothing readable. Whatever the case, one can write.
        self._ready.register(end.fileno(), READABLE | (select.EPOLLOUT if begun else 0))

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        # Behind all connections on which a call is ready, one word for each thread that there are no more.
        words, until_s = [os.eventfd(1) for _ in threads], time.monotonic() + END_LIMIT_S
        for word in words:
            self._ready.register(word, READABLE)
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        for word in words:
            os.close(word)
        while self._connections:
            self._connections.popitem()[1].close()

    def _serve(self) -> None:
        while True:
            for number, _ in self._ready.poll(maxevents=1):
                if (connection := self._connections.get(number)) is None:
                    return
                if self._served(connection):
                    self._ready.modify(number, READABLE | (select.EPOLLOUT if connection.begun else 0))
                else:
                    del self._connections[number]
                    connection.close()

    def _served(self, connection: _Connection) -> bool:
        """Read of a connection what there is, and answer the call that is whole; whether the connection goes on."""
        with suppress(OSError, EOFError):
            try:
                if (frame := connection.read()) is None:
                    return True
                reply = self._reply(read_call(frame), connection)
            except MalformedError as error:
                logger.warning("a connection to the expert was closed: %s", error)
                return False
            except Exception:  # whatever it is: this thread answers the other connections, too
                logger.exception("a connection to the expert was closed")
                return False
            if reply is not None:
                connection.answer(reply)
                return True
        return False

    def _reply(self, call: CallFrame, connection: _Connection) -> ReplyFrame | None:
        """The reply to a call; None if its caller has gone, and then it is not run."""
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
            if connection.gone:
                return None
            if (time.monotonic() - call.sent_s) * 1e3 > call.left_ms:
                return ReplyFrame(HTTPStatus.SERVICE_UNAVAILABLE, call.digest)
            try:
                ran = timed_run(run, self._models.tracer, items, call.traceparent, call.sent_s)
            except Exception:  # whatever fails, the caller is told, and the next call is another one
                logger.exception("a call to the expert failed")
                return ReplyFrame(HTTPStatus.INTERNAL_SERVER_ERROR, call.digest)
        return ReplyFrame(HTTPStatus.OK, call.digest, pack_arrays([ran.logits]), ran.expert_ms, ran.waited_ms or 0.0)
