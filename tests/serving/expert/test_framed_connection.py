"""The caller's end of framed calls: a real socket, and whatever may come back on it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.errors import MalformedError, StageDownError, StageRefusedError
from serving.expert.call import Escalated
from serving.expert.client import RemoteExpert
from serving.expert.connection import MAX_REPLY_BYTES, Connections
from serving.expert.framed_connection import FramedConnection
from serving.expert.frames import (
    CALL,
    REPLY,
    ReplyFrame,
    call_size,
    pack_arrays,
    read_call,
    reply_bytes,
    unpack_arrays,
)
from serving.expert.queue import Escalations
from serving.http.expert_models import ExpertModels
from serving.http.framed import FramedCalls
from serving.model.apart import Run
from serving.settings import MOST_BATCH_SIZE
from serving.watch.expert_metrics import ExpertMetrics
from tests.serving.http.test_expert_models import SESSION, expert

DIGEST = "d" * 64
LOGITS = np.array([[0.5, -1.5]], dtype=np.float32)
SOUND = reply_bytes(ReplyFrame(200, DIGEST, pack_arrays([LOGITS]), 1.25, 0.5))
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def play(path: Path, answer: Answer, scenario: Callable[[RemoteExpert], Awaitable[Any]]) -> Any:
    """What `scenario` gives with an expert that reads each call and then does `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readexactly(CALL.size):
                call = read_call(head + await reader.readexactly(call_size(head) - CALL.size))
                assert call.digest == DIGEST
                assert unpack_arrays(call.message)[0].tolist() == [4, 5]
                await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> Any:
        expert = RemoteExpert(f"file://{path}", "an-expert", DIGEST, framed=True)
        server = await asyncio.start_unix_server(serve, path)
        try:
            return await scenario(expert)
        finally:
            await expert.close()
            server.close()

    return asyncio.run(main())


def saying(*parts: bytes) -> Answer:
    async def say(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return say


async def ask(expert: RemoteExpert) -> Any:
    return await expert([np.array([4, 5])], None, 100.0)


@pytest.mark.parametrize("cut", [0, 3, REPLY.size, REPLY.size + 5, len(SOUND) - 1])
def test_a_reply_may_come_in_pieces(tmp_path: Path, cut: int) -> None:
    async def twice(expert: RemoteExpert) -> Any:
        return [await ask(expert), await ask(expert)]

    for ran in play(tmp_path / "s", saying(SOUND[:cut], SOUND[cut:]), twice):
        np.testing.assert_array_equal(ran.logits, LOGITS)
        assert (ran.expert_ms, ran.waited_ms) == (1.25, 0.5)


@pytest.mark.parametrize(
    ("said", "error", "match"),
    [
        (reply_bytes(ReplyFrame(503, DIGEST)), StageRefusedError, "overloaded"),
        (reply_bytes(ReplyFrame(500, DIGEST)), StageDownError, "status 500"),
        (reply_bytes(ReplyFrame(412, "e" * 64)), StageDownError, "the expert serves artifact eeeeeeeeeeee"),
        (reply_bytes(ReplyFrame(200, "e" * 64, pack_arrays([LOGITS]))), StageDownError, "another|serves artifact"),
        (reply_bytes(ReplyFrame(200, DIGEST, b"nonsense")), StageDownError, "."),
        (reply_bytes(ReplyFrame(200, DIGEST, pack_arrays([LOGITS, LOGITS]))), StageDownError, "."),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", StageDownError, "."),
        (SOUND + b"more", StageDownError, "."),
        (REPLY.pack(b"\0sv1", 200, 0, MAX_REPLY_BYTES, 0.0, 0.0), StageDownError, "."),
    ],
)
def test_a_reply_without_logits_is_a_stage_error(
    tmp_path: Path, said: bytes, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        play(tmp_path / "s", saying(said), ask)


def test_an_expert_that_ends_in_the_middle_is_asked_anew(tmp_path: Path) -> None:
    calls = 0

    async def once_half(writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            writer.write(SOUND[:9])
            raise ConnectionResetError
        writer.write(SOUND)

    assert play(tmp_path / "s", once_half, ask).expert_ms == 1.25
    assert calls == 2


def test_what_nobody_has_asked_for_closes_the_connection(tmp_path: Path) -> None:
    async def main() -> None:
        connected: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_unix_server(lambda _, writer: connected.put_nowait(writer), tmp_path / "s")
        connection = await Connections(f"file://{tmp_path / 's'}", local=FramedConnection).take()
        assert isinstance(connection, FramedConnection)
        assert connection.is_fresh(1e12), "it lasts until the expert ends"
        writer = await connected.get()
        writer.write(SOUND)
        while connection.reusable:
            await asyncio.sleep(0)
        writer.close()
        server.close()

    asyncio.run(main())


def test_a_reply_that_is_no_frame_is_said_to_be_none(tmp_path: Path) -> None:
    connection = FramedConnection()

    async def main() -> None:
        connection.connection_made(_Closing())
        asked = asyncio.ensure_future(connection.ask(b"call"))
        await asyncio.sleep(0)
        connection.data_received(b"x" * REPLY.size)
        with pytest.raises(MalformedError, match="must be a frame"):
            await asked

    asyncio.run(main())


class _Closing(asyncio.Transport):
    """A transport that sends nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def close(self) -> None:
        pass


def with_lanes(run: Run, lanes: int) -> FramedCalls:
    session: Any = SimpleNamespace(**{**vars(SESSION), "lanes": lanes})
    opened = replace(expert("1"), run=run, session=session)
    return FramedCalls(ExpertModels(opened, ExpertMetrics("text", None, True, **opened.info)))


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Callable[[FramedCalls], str]]:
    """Makes a URL at which an expert takes over each connection."""
    with ExitStack() as until_end:

        def made(calls: FramedCalls) -> str:
            listener = until_end.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / "expert.sock"))
            listener.listen()
            until_end.callback(listener.shutdown, socket.SHUT_RDWR)
            until_end.enter_context(calls.served())

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        calls.take(listener.accept()[0], b"")

            threading.Thread(target=accept, daemon=True).start()
            return f"file://{tmp_path / 'expert.sock'}"

        yield made


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
        client = RemoteExpert(url, "an-expert:1", "1" * 64, framed=True)
        escalations = Escalations(client, max_batch_size=1)
        escalations.forecast.side_by_side = 2
        asked = (escalations.ask([np.array([3, 4])], time.monotonic() + 60) for _ in range(4))
        answers = await asyncio.gather(*asked)
        await client.close()
        return [float(answer.logits[0, 0]) for answer in answers]

    assert asyncio.run(ask()) == [1.0] * 4


def test_a_call_has_as_many_items_as_the_largest_batch_size_says(
    clean_registry: None, listening: Callable[[FramedCalls], str]
) -> None:
    ran: list[int] = []

    def first_values(given: Sequence[Array]) -> Logits:
        ran.append(len(given))
        return np.array([[float(item[0])] for item in given], dtype=np.float32)

    url = listening(with_lanes(first_values, 1))
    items = [np.array([number]) for number in range(1, 1 + MOST_BATCH_SIZE)]

    async def ask() -> Escalated:
        client = RemoteExpert(url, "an-expert:1", "1" * 64, framed=True)
        answer = await Escalations(client, max_batch_size=MOST_BATCH_SIZE).ask(items, time.monotonic() + 60)
        await client.close()
        return answer

    assert asyncio.run(ask()).logits[:, 0].tolist() == [float(item[0]) for item in items]
    assert ran == [MOST_BATCH_SIZE], "they went in one call"
