"""Calls over a unix socket without HTTP: one frame of a fixed head and raw arrays for each call, and one back.

Both ends are of one Bento, so there is nothing to negotiate. HTTP took 0.3 ms of a call that waits for nothing: two
parsers, an ASGI application, and turns of the expert's event loop before and after its thread. The statuses are HTTP's.

A frame begins with a zero byte, as no request of HTTP does, so that one socket takes both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from serving.errors import MalformedError

MAGIC = b"\0sv1"
CALL = struct.Struct("<4sHHId")
"""MAGIC, the bytes of the digest, of the traceparent and of the message, and the milliseconds that are left."""
REPLY = struct.Struct("<4sHHIdd")
"""MAGIC, the status, the bytes of the digest and of the message, milliseconds in the session, and before it."""
MAX_CALL_BYTES = 256 * 1024 * 1024
"""More than the 64 arrays of a call: an image of 512 x 512 has 3 MB."""


@dataclass(frozen=True, slots=True)
class CallFrame:
    """One call: the `digest` of the artifact that it is for, and a message of `serving.expert.wire`.

    `left_ms`: for how long somebody waits, infinite for ever. `traceparent` is empty without a trace.
    """

    digest: str
    traceparent: str
    left_ms: float
    message: bytes


@dataclass(frozen=True, slots=True)
class ReplyFrame:
    """The reply: a status, the digest of the artifact that is served, and a message of logits, empty without any."""

    status: int
    digest: str
    message: bytes = b""
    took_ms: float = 0.0
    waited_ms: float = 0.0


def call_bytes(call: CallFrame) -> bytes:
    """The frame of a call."""
    digest, traceparent = call.digest.encode(), call.traceparent.encode()
    head = CALL.pack(MAGIC, len(digest), len(traceparent), len(call.message), call.left_ms)
    return b"".join((head, digest, traceparent, call.message))


def call_size(head: bytes | bytearray) -> int:
    """The bytes of the frame whose first CALL.size bytes these are. Raises MalformedError where they are no head."""
    magic, digest, traceparent, message, _ = CALL.unpack_from(head)
    if magic != MAGIC or message > MAX_CALL_BYTES:
        raise _malformed("call")
    return int(CALL.size + digest + traceparent + message)


def read_call(frame: bytes | bytearray) -> CallFrame:
    """The call of a whole frame. Raises MalformedError for text that is no ASCII."""
    _, digest_bytes, trace_bytes, _, left_ms = CALL.unpack_from(frame)
    digest_end = CALL.size + digest_bytes
    trace_end = digest_end + trace_bytes
    try:
        digest, traceparent = frame[CALL.size : digest_end].decode("ascii"), frame[digest_end:trace_end].decode("ascii")
    except UnicodeDecodeError:
        raise _malformed("call") from None
    return CallFrame(digest, traceparent, left_ms, bytes(memoryview(frame)[trace_end:]))


def reply_bytes(reply: ReplyFrame) -> bytes:
    """The frame of a reply."""
    digest = reply.digest.encode()
    head = REPLY.pack(MAGIC, reply.status, len(digest), len(reply.message), reply.took_ms, reply.waited_ms)
    return b"".join((head, digest, reply.message))


def reply_size(head: bytes | bytearray) -> int:
    """The bytes of the frame whose first REPLY.size bytes these are. Raises MalformedError where they are no head."""
    magic, _, digest, message, _, _ = REPLY.unpack_from(head)
    if magic != MAGIC:
        raise _malformed("reply")
    return int(REPLY.size + digest + message)


def read_reply(frame: bytes | bytearray) -> ReplyFrame:
    """The reply of a whole frame. Raises MalformedError for text that is no ASCII."""
    _, status, digest_bytes, _, took_ms, waited_ms = REPLY.unpack_from(frame)
    end = REPLY.size + digest_bytes
    try:
        digest = frame[REPLY.size : end].decode("ascii")
    except UnicodeDecodeError:
        raise _malformed("reply") from None
    return ReplyFrame(status, digest, bytes(memoryview(frame)[end:]), took_ms, waited_ms)


def _malformed(what: str) -> MalformedError:
    return MalformedError(what, "must be a frame of serving.expert.frames, got another; start API and expert together")
