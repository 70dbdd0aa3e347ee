"""The client of an expert's process or of its machines: raw arrays for each call, as a POST or as a frame."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import orjson

from serving.arrays import Array
from serving.errors import MalformedError, StageDownError, StageError, StageRefusedError
from serving.expert.call import Ran
from serving.expert.connection import Connections, Reply
from serving.expert.framed_connection import FramedConnection
from serving.expert.frames import CallFrame, call_bytes, pack_arrays, unpack_arrays
from serving.expert.outages import Outages
from serving.expert.wire import LEFT_HEADER, TOOK_HEADER, WAITED_HEADER, pack, unpack
from serving.expert_tls import SYSTEM, ExpertTls

DESCRIBE_LIMIT_S = 0.5
TRIES = 3
TOOK, WAITED = TOOK_HEADER.encode(), WAITED_HEADER.encode()
OK, WRONG_ARTIFACT, UNAVAILABLE = 200, 412, 503


class WrongArtifactError(StageDownError):
    """The server has another artifact than the one that the operating point was chosen for."""


class RemoteExpert:
    """An expert behind `serving.http.expert_app`, at a URL and with the files `tls` that `Connections` takes.

    `tag` names it in the log. `framed`: its socket takes calls as frames, too.

    Each call asks for the artifact of this `digest` and takes an answer from no other. A call whose connection breaks,
    or that meets another artifact, is made again over a new connection. Calls change nothing, so twice does no harm.
    """

    def __init__(self, url: str, tag: str, digest: str, tls: ExpertTls = SYSTEM, *, framed: bool = False) -> None:
        self._connections, self._outages = Connections(url, tls), Outages(tag)
        self._framed = Connections(url, tls, FramedConnection) if framed else None
        self._digest, self._etag = digest, f'"{digest}"'.encode()
        self._common = b" HTTP/1.1\r\nHost: %b\r\nIf-Match: %b\r\n" % (self._connections.host.encode(), self._etag)

    async def __call__(self, items: Sequence[Array], traceparent: str | None = None, left_ms: float = math.inf) -> Ran:
        """Prepared items -> the expert's reply.

        `traceparent` (W3C) and `left_ms`, how long anybody waits for the answer, go along as headers. Raises
        StageRefusedError when the expert is overloaded, and StageDownError for every other failure.
        """
        with self._outages:
            if self._framed is not None:
                arrays = pack_arrays(items)
                frame = call_bytes(CallFrame(self._digest, traceparent or "", time.monotonic(), left_ms, arrays))
                return _ran(await self._ask(frame, self._framed), len(items), unpack_arrays)
            message = pack(items)
            traced = b"traceparent: %b\r\n" % traceparent.encode() if traceparent else b""
            limited = b"%b: %.1f\r\n" % (LEFT_HEADER.encode(), left_ms) if left_ms < math.inf else b""
            head = b"POST /infer%b%b%bContent-Length: %d\r\n\r\n" % (self._common, traced, limited, len(message))
            return _ran(await self._ask(head + message, self._connections), len(items))

    async def describe(self) -> dict[str, str]:
        """The variant that the expert runs and its execution provider, `asked` and `got`; else `error` says why not."""
        try:
            async with asyncio.timeout(DESCRIBE_LIMIT_S):
                reply = await self._ask(b"GET /model%b\r\n" % self._common, self._connections)
            said = orjson.loads(reply.body)
            if not isinstance(said, dict):
                raise ValueError
            return {str(name): str(value) for name, value in said.items()}
        except WrongArtifactError as error:
            return {"error": str(error)}
        except (StageError, OSError, TimeoutError, MalformedError, ValueError) as error:
            return {"error": f"the expert does not answer ({type(error).__name__})"}

    async def close(self) -> None:
        """Close the connections that are idle."""
        self._connections.close_idle()
        if self._framed is not None:
            self._framed.close_idle()

    async def _ask(self, request: bytes, connections: Connections) -> Reply:
        for _ in range(TRIES - 1):
            try:
                return await self._ask_once(request, connections)
            except (ConnectionError, WrongArtifactError):
                # The other idle connections are likely to lead to the same machine.
                connections.close_idle()
        return await self._ask_once(request, connections)

    async def _ask_once(self, request: bytes, connections: Connections) -> Reply:
        connection = await connections.take()
        try:
            reply = await connection.ask(request)
        except BaseException:  # also when it is cancelled: the late response would be taken for the next one
            connection.close()
            raise
        theirs = reply.headers.get(b"etag")
        if reply.status == WRONG_ARTIFACT or (reply.status == OK and theirs != self._etag):
            connection.close()
            raise WrongArtifactError(
                f"the expert serves artifact {_short(theirs)}, the operating point was chosen for "
                f"{_short(self._etag)}; it is not asked until both are of one run"
            )
        connections.give_back(connection)
        if reply.status == UNAVAILABLE:
            raise StageRefusedError("the expert is overloaded")
        if reply.status != OK:
            raise StageDownError(f"the expert answered with status {reply.status}")
        return reply


def _ran(reply: Reply, items: int, unpack: Callable[[bytes], list[Array]] = unpack) -> Ran:
    """What a reply says of a call with so many items. Raises MalformedError if it says something else."""
    logits, *others = unpack(reply.body)
    if others or logits.dtype != np.float32 or logits.ndim != 2 or len(logits) != items:
        raise MalformedError("reply", f"must hold the logits of {items} items, got other arrays")
    took, waited = reply.headers.get(TOOK, b"0"), reply.headers.get(WAITED)
    try:
        return Ran(logits, float(took), None if waited is None else float(waited))
    except ValueError:
        raise MalformedError("reply", "must give its times in milliseconds, got something else") from None


def _short(etag: bytes | None) -> str:
    return (etag or b"without a name").decode(errors="replace").strip('"')[:12]
