"""Calls as frames, over real sockets and in real threads."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
        self.labels, self.threads = 1, set[int]()
        self.begun, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, items: Sequence[Array]) -> Logits:
        first = int(items[0][0])
        labels = self.labels
        self.ran.append(first)
        self.threads.add(threading.get_ident())
        self.begun.release()
        if first == 9:
            assert self.go.wait(60)
        if first == 0:
            raise ValueError("no content of an item")
        return np.array([[float(item[0])] * labels for item in items], dtype=np.float32)


@pytest.fixture
def ours() -> Expert:
    return Expert()


@pytest.fixture
def calls(ours: Expert, clean_registry: None) -> FramedCalls:
    opened = replace(expert("1"), run=ours)
    return FramedCalls(ExpertModels(opened, ExpertMetrics("text", None, True, **opened.info)))


@pytest.fixture
def connect(calls: FramedCalls) -> Iterator[Callable[..., socket.socket]]:
    """Makes the caller's end of a connection that the expert has taken over; `begun` is what it read of it before."""
    with ExitStack() as ends:

        def made(begun: bytes = b"") -> socket.socket:
            return ends.enter_context(taken_over(calls, begun))

        with calls.served():
            yield made


def taken_over(calls: FramedCalls, begun: bytes = b"") -> socket.socket:
    mine, theirs = socket.socketpair()
    mine.settimeout(60)
    calls.take(theirs, begun)
    return mine


def frame(*items: Array, digest: str = DIGEST, left_ms: float = math.inf, ago_s: float = 0.0) -> bytes:
    """The frame of a call that was sent so long ago."""
    return call_bytes(CallFrame(digest, "", time.monotonic() - ago_s, left_ms, pack_arrays(items)))


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
    assert asked(end, call_bytes(CallFrame(DIGEST, "", 0.0, math.inf, b"nonsense"))).status == 400
    assert asked(end, frame(ITEM)).status == 200


def test_a_call_whose_time_is_over_is_not_run(connect: Callable[[], socket.socket], ours: Expert) -> None:
    assert asked(connect(), frame(ITEM, left_ms=-1.0)).status == 503
    assert ours.ran == []


def test_the_time_of_a_call_runs_from_when_it_was_sent(connect: Callable[[], socket.socket], ours: Expert) -> None:
    said = asked(connect(), frame(ITEM, left_ms=60_000, ago_s=2.0))
    assert (said.status, said.waited_ms >= 2_000) == (200, True)
    assert asked(connect(), frame(ITEM, left_ms=1_000, ago_s=2.0)).status == 503
    assert ours.ran == [3]


def test_what_was_read_of_a_call_before_the_connection_was_taken_over_counts(
    connect: Callable[..., socket.socket],
) -> None:
    assert reply(connect(frame(ITEM))).status == 200
    whole = frame(ITEM)
    end = connect(whole[:40])
    assert asked(end, whole[40:]).status == 200
    assert reply(connect(whole + whole)).status == 200


def test_calls_of_all_connections_run_in_one_thread(connect: Callable[[], socket.socket], ours: Expert) -> None:
    # The model's data would move from core to core: two calls under way were a tenth slower with a thread for each.
    for end in (connect(), connect(), connect()):
        assert asked(end, frame(ITEM)).status == 200
    assert len(ours.threads) == 1


def test_a_caller_that_stops_in_the_middle_of_a_call_keeps_nobody_waiting(connect: Callable[[], socket.socket]) -> None:
    stopped, other = connect(), connect()
    stopped.sendall(frame(ITEM)[:-3])
    assert asked(other, frame(ITEM)).status == 200


def test_a_caller_that_does_not_read_keeps_nobody_waiting_for_long(
    connect: Callable[[], socket.socket], ours: Expert
) -> None:
    deaf, other = connect(), connect()
    ours.labels = 1_000_000
    deaf.sendall(frame(ITEM))
    assert ours.begun.acquire(timeout=60)
    ours.labels = 1
    assert asked(other, frame(ITEM)).status == 200
    with pytest.raises((AssertionError, ConnectionError)):  # what the buffer held, and then the end
        reply(deaf)


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
    first, gone, second, last = connect(), connect(), connect(), connect()
    first.sendall(frame(np.array([9])))
    assert ours.begun.acquire(timeout=60)
    for end, value in ((gone, 5), (last, 6), (second, 7)):
        end.sendall(frame(np.array([value])))
    gone.close()
    ours.go.set()
    assert reply(first).status == 200
    assert reply(last).waited_ms > 0
    assert reply(second).waited_ms > 0
    assert ours.ran == [9, 6, 7]


def test_what_is_no_frame_ends_the_connection(
    connect: Callable[[], socket.socket], logged: list[logging.LogRecord]
) -> None:
    end = connect()
    end.sendall(b"\0nothing of ours, and long enough for a head")
    assert end.recv(1) == b""
    while not logged:  # it is said after the end
        threading.Event().wait(0.001)
    assert "must be a frame" in logged[-1].getMessage()


def test_a_fault_ends_its_connection_and_no_other(
    connect: Callable[..., socket.socket], calls: FramedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty, other = connect(), connect()

    def fail(_digest: str) -> None:
        raise RuntimeError("no content of an item")

    with monkeypatch.context() as patch:
        patch.setattr(calls._models, "of_digest", fail)
        faulty.sendall(frame(ITEM))
        assert faulty.recv(1) == b""
    assert asked(other, frame(ITEM)).status == 200


def test_calls_that_are_there_are_answered_before_the_process_ends(ours: Expert, calls: FramedCalls) -> None:
    with ExitStack() as ends, ThreadPoolExecutor(2) as pool:
        with calls.served():
            assert SieveProtocol.framed == calls.take
            runs, waits, idle = (ends.enter_context(taken_over(calls)) for _ in range(3))
            runs.sendall(frame(np.array([9])))
            assert ours.begun.acquire(timeout=60)
            waits.sendall(frame(ITEM))
            answers = [pool.submit(reply, end) for end in (runs, waits)]
            threading.Timer(0.05, ours.go.set).start()
        assert [answer.result(60).status for answer in answers] == [200, 200]
        assert SieveProtocol.framed is None
        assert idle.recv(1) == b"", "nobody reads what comes later"
        assert not [thread for thread in threading.enumerate() if thread.name == "framed"]
