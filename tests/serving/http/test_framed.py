"""Calls as frames, over real sockets and in real threads."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.expert.call import Escalated
from serving.expert.client import RemoteExpert
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
from serving.expert.queue import Escalations
from serving.http.expert_models import ExpertModels
from serving.http.framed import FramedCalls
from serving.http.protocol import SieveProtocol
from serving.model.apart import Run
from serving.settings import MOST_BATCH_SIZE
from serving.watch.expert_metrics import ExpertMetrics
from tests.serving.http.test_expert_models import SESSION, expert

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


def with_lanes(run: Run, lanes: int) -> FramedCalls:
    session: Any = SimpleNamespace(**{**vars(SESSION), "lanes": lanes})
    opened = replace(expert("1"), run=run, session=session)
    return FramedCalls(ExpertModels(opened, ExpertMetrics("text", None, True, **opened.info)))


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Callable[[FramedCalls], str]]:
    """Makes a URL at which an expert takes over each connection."""
    listeners: list[socket.socket] = []

    def made(calls: FramedCalls) -> str:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "expert.sock"))
        listener.listen()
        listeners.append(listener)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    calls.take(listener.accept()[0], b"")

        threading.Thread(target=accept, daemon=True).start()
        return f"file://{tmp_path / 'expert.sock'}"

    yield made
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_an_expert_with_two_lanes_runs_two_calls_of_one_process_at_once(
    clean_registry: None, listening: Callable[[FramedCalls], str]
) -> None:
    """Each call ends only beside another one: over one connection, or in one lane, none would."""
    together = threading.Barrier(2)

    def meeting(items: Sequence[Array]) -> Logits:
        together.wait(60)
        return np.full((len(items), 2), len(items), dtype=np.float32)

    url = listening(with_lanes(meeting, 2))

    async def ask() -> list[float]:
        client = RemoteExpert(url, "an-expert:1", DIGEST, framed=True)
        escalations = Escalations(client, max_batch_size=1)
        escalations.forecast.side_by_side = 2
        asked = (escalations.ask([ITEM], time.monotonic() + 60) for _ in range(4))
        answers = await asyncio.gather(*asked)
        await client.close()
        return [float(answer.logits[0, 0]) for answer in answers]

    assert asyncio.run(ask()) == [1.0] * 4


def test_a_call_has_as_many_items_as_the_largest_batch_size_says(
    ours: Expert, clean_registry: None, listening: Callable[[FramedCalls], str]
) -> None:
    url = listening(with_lanes(ours, 1))
    items = [np.array([number]) for number in range(1, 1 + MOST_BATCH_SIZE)]

    async def ask() -> Escalated:
        client = RemoteExpert(url, "an-expert:1", DIGEST, framed=True)
        answer = await Escalations(client, max_batch_size=MOST_BATCH_SIZE).ask(items, time.monotonic() + 60)
        await client.close()
        return answer

    ours.go.set()
    assert asyncio.run(ask()).logits[:, 0].tolist() == [float(item[0]) for item in items]
    assert ours.ran == [1], "they went in one call"
