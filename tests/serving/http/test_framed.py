"""Calls as frames, over real sockets and in real threads."""

from __future__ import annotations

import logging
import math
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.expert.frames import (
    REPLY,
    CallFrame,
    ReplyFrame,
    call_bytes,
    pack_arrays,
    read_reply,
    reply_size,
    unpack_arrays,
)
from serving.http.expert_models import ExpertModels
from serving.http.framed import FramedCalls
from serving.http.protocol import SieveProtocol
from serving.watch.expert_metrics import ExpertMetrics
from tests.serving.http.test_expert_models import expert

DIGEST = "1" * 64
ITEM = np.array([3, 4])


class Expert:
    """An expert whose logits are an item's first value; it fails for 0, and waits for `go` where an item is 9."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, items: Sequence[Array]) -> Logits:
        first = int(items[0][0])
        self.ran.append(first)
        self.begun.release()
        if first == 9:
            assert self.go.wait(60)
        if first == 0:
            raise ValueError("no content of an item")
        return np.array([[float(item[0])] for item in items], dtype=np.float32)


@pytest.fixture
def ours() -> Expert:
    return Expert()


@pytest.fixture
def calls(ours: Expert, clean_registry: None) -> FramedCalls:
    opened = replace(expert("1"), run=ours)
    return FramedCalls(ExpertModels(opened, ExpertMetrics("text", None, True, **opened.info)))


@pytest.fixture
def connect(calls: FramedCalls) -> Iterator[Callable[[], socket.socket]]:
    """Makes the caller's end of a connection that the expert has taken over."""
    ends: list[socket.socket] = []

    def made() -> socket.socket:
        mine, theirs = socket.socketpair()
        mine.settimeout(60)
        ends.append(mine)
        calls.take(theirs, b"")
        return mine

    yield made
    for end in ends:
        end.close()


def frame(*items: Array, digest: str = DIGEST, left_ms: float = math.inf) -> bytes:
    return call_bytes(CallFrame(digest, "", left_ms, pack_arrays(items)))


def reply(end: socket.socket) -> ReplyFrame:
    data = b""
    while len(data) < REPLY.size or len(data) < reply_size(data):
        more = end.recv(65_536)
        assert more, "the connection was closed"
        data += more
    return read_reply(data)


def asked(end: socket.socket, sent: bytes) -> ReplyFrame:
    end.sendall(sent)
    return reply(end)


def test_each_call_on_a_connection_gets_its_own_logits(connect: Callable[[], socket.socket]) -> None:
    end = connect()
    for first in (1, 2, 3):
        said = asked(end, frame(np.array([first]), np.array([5, 6])))
        assert (said.status, said.digest) == (200, DIGEST)
        assert unpack_arrays(said.message)[0].tolist() == [[first], [5]]
        assert said.took_ms >= 0
        assert said.waited_ms >= 0


def test_a_frame_may_come_in_pieces(connect: Callable[[], socket.socket], ours: Expert) -> None:
    end, whole = connect(), frame(ITEM)
    for place in range(len(whole)):
        assert ours.ran == []
        end.sendall(whole[place : place + 1])
    assert unpack_arrays(reply(end).message)[0].tolist() == [[3.0]]


def test_a_call_for_another_artifact_is_not_run(connect: Callable[[], socket.socket], ours: Expert) -> None:
    assert asked(connect(), frame(ITEM, digest="2" * 64)) == ReplyFrame(412, DIGEST)
    assert ours.ran == []


def test_what_is_no_message_is_refused_and_the_connection_goes_on(connect: Callable[[], socket.socket]) -> None:
    end = connect()
    assert asked(end, call_bytes(CallFrame(DIGEST, "", math.inf, b"nonsense"))).status == 400
    assert asked(end, frame(ITEM)).status == 200


def test_a_call_whose_time_is_over_is_not_run(connect: Callable[[], socket.socket], ours: Expert) -> None:
    assert asked(connect(), frame(ITEM, left_ms=-1.0)).status == 503
    assert ours.ran == []


def test_a_failed_call_is_told_and_the_next_one_runs(
    connect: Callable[[], socket.socket], logged: list[logging.LogRecord]
) -> None:
    end = connect()
    assert asked(end, frame(np.array([0]))).status == 500
    assert "a call to the expert failed" in logged[-1].getMessage()
    assert asked(end, frame(ITEM)).status == 200


def test_calls_run_one_after_the_other_and_not_for_a_caller_who_has_gone(
    connect: Callable[[], socket.socket], ours: Expert, calls: FramedCalls
) -> None:
    first, gone, last = connect(), connect(), connect()
    first.sendall(frame(np.array([9])))
    assert ours.begun.acquire(timeout=60)
    for end, value in ((gone, 5), (last, 6)):
        waiting = len(calls._models.turns._waiting)
        end.sendall(frame(np.array([value])))
        while len(calls._models.turns._waiting) == waiting:
            threading.Event().wait(0.001)
    gone.close()
    ours.go.set()
    assert reply(first).status == 200
    assert reply(last).waited_ms > 0
    assert ours.ran == [9, 6]


def test_what_is_no_frame_ends_the_connection(
    connect: Callable[[], socket.socket], logged: list[logging.LogRecord]
) -> None:
    end = connect()
    end.sendall(b"\0nothing of ours, and long enough for a head")
    assert end.recv(1) == b""
    while not logged:  # it is said after the end
        threading.Event().wait(0.001)
    assert "must be a frame" in logged[-1].getMessage()


def test_a_call_that_runs_is_answered_before_the_process_ends(
    connect: Callable[[], socket.socket], ours: Expert, calls: FramedCalls
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with calls.served():
            assert SieveProtocol.framed == calls.take
            end, idle = connect(), connect()
            end.sendall(frame(np.array([9])))
            assert ours.begun.acquire(timeout=60)
            answer = pool.submit(reply, end)
            ours.go.set()
        assert answer.result(60).status == 200
    assert SieveProtocol.framed is None
    assert idle.recv(1) == b"", "nobody reads what comes later"
    assert calls._threads == {}
