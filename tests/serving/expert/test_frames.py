"""Frames of calls and replies, and the arrays in them."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from serving.arrays import Array
from serving.errors import MalformedError
from serving.expert.frames import (
    CALL,
    MAX_CALL_BYTES,
    REPLY,
    CallFrame,
    ReplyFrame,
    call_bytes,
    call_size,
    pack_arrays,
    read_call,
    read_reply,
    reply_bytes,
    reply_size,
    unpack_arrays,
)
from serving.expert.wire import MAX_ARRAYS

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ARRAYS: list[list[Array]] = [
    [np.array([2, 5, 3])],
    [np.arange(8), np.arange(6).reshape(2, 3), np.arange(3)],
    [np.linspace(-1, 1, 3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)] * 3,
    [np.arange(12).reshape(3, 4).T],  # not contiguous
    [np.zeros(1, dtype=np.int64)] * 64,
]


@pytest.mark.parametrize("left_ms", [0.0, 12.5, math.inf])
@pytest.mark.parametrize("trace", ["", TRACE])
def test_a_call_is_read_as_it_was_written(left_ms: float, trace: str) -> None:
    call = CallFrame("d" * 64, trace, 12.5, left_ms, b"\0\n{message}")
    frame = call_bytes(call)
    assert frame[0] == 0, "no request of HTTP begins so"
    assert call_size(frame[: CALL.size]) == len(frame)
    assert read_call(frame) == call


@pytest.mark.parametrize("reply", [ReplyFrame(412, "e" * 64), ReplyFrame(200, "e" * 64, b"logits", 1.25, 0.5)])
def test_a_reply_is_read_as_it_was_written(reply: ReplyFrame) -> None:
    frame = reply_bytes(reply)
    assert reply_size(frame[: REPLY.size]) == len(frame)
    assert read_reply(frame) == reply


def test_a_head_that_is_none_is_refused() -> None:
    sound = call_bytes(CallFrame("d", "", 12.5, 1.0, b"x"))
    for head in (b"GET /model HTTP/1.1\r\n" * 2, b"\0sv1" + sound[4:]):
        with pytest.raises(MalformedError, match="must be a frame"):
            call_size(head)
        with pytest.raises(MalformedError, match="must be a frame"):
            reply_size(head + bytes(REPLY.size))
    with pytest.raises(MalformedError):
        call_size(CALL.pack(b"\0sv2", 0, 0, MAX_CALL_BYTES + 1, 0.0, 1.0))
    with pytest.raises(MalformedError):
        read_call(call_bytes(CallFrame("d", "", 12.5, 1.0, b"x")).replace(b"d", b"\xff"))
    with pytest.raises(MalformedError):
        read_reply(reply_bytes(ReplyFrame(200, "d")).replace(b"d", b"\xff"))


@pytest.mark.parametrize("arrays", ARRAYS, ids=["text", "windows", "images", "transposed", "most"])
def test_arrays_are_read_as_they_were_packed(arrays: list[Array]) -> None:
    for got, sent in zip(unpack_arrays(pack_arrays(arrays)), arrays, strict=True):
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
        np.testing.assert_array_equal(got, sent)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\1",
        struct.pack("<HH", 0, 0),
        struct.pack("<HH", MAX_ARRAYS + 1, 0) + (MAX_ARRAYS + 1) * struct.pack("<BI", 1, 0),
        struct.pack("<HH", 1, 2) + struct.pack("<BI", 1, 1) + bytes(8),  # no such type
        struct.pack("<HH", 1, 0) + struct.pack("<B5I", 5, 1, 1, 1, 1, 1) + bytes(8),
        struct.pack("<HH", 1, 0) + struct.pack("<BI", 1, 2) + bytes(8),  # too short
        struct.pack("<HH", 1, 0) + struct.pack("<BI", 1, 1) + bytes(9),  # too long
        struct.pack("<HH", 1, 0) + struct.pack("<B4I", 4, *[2**32 - 1] * 4),
        struct.pack("<HH", 2, 0) + struct.pack("<BI", 1, 1),
    ],
)
def test_what_is_no_message_of_arrays_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedError, match="must be a frame"):
        unpack_arrays(message)
