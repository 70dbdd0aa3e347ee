"""Bodies as they arrive: how many, how many bytes, and who is given up for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from serving.errors import OverloadedError, TooLargeError, TooSlowError, WrongTypeError
from serving.http import intake
from serving.http.intake import FREE_BYTES, Body, Intake, bytes_stated
from serving.load.memory import MemoryLimit
from tests.serving.asgi import piece, request_of

LIMIT = 10_000_000


def opened(there: Intake, *messages: Message) -> Body:
    """A body that has sent these messages; it goes on only if the last of them says that it ends."""
    return there.open(request_of(*messages))


async def arriving(there: Intake, *messages: Message) -> tuple[Body, asyncio.Task[bytes]]:
    """A body that has sent these messages and does not go on, and the task that reads it."""
    body = opened(there, *messages)
    task = asyncio.create_task(body.whole(LIMIT, "image"))
    await asyncio.sleep(0)
    return body, task


def test_a_body_that_is_there_is_read_without_waiting() -> None:
    async def main() -> None:
        there = Intake(MemoryLimit(0))
        with opened(there, piece(b"ab", more=True), piece(b"c")) as body:
            reading = body.whole(3, "body")
            with pytest.raises(StopIteration) as done:
                reading.send(None)
            assert done.value.value == b"abc"
        assert there.arriving == set()

    asyncio.run(main())


def test_what_is_too_long_is_given_up_before_and_while_it_arrives() -> None:
    async def main() -> None:
        there = Intake(MemoryLimit(0))
        stated = there.open(request_of(headers={"content-length": "11"}))
        with pytest.raises(TooLargeError, match="image: must have at most 10 bytes"):
            await stated.whole(10, "image")
        with pytest.raises(TooLargeError, match="image: must have at most 10 bytes"):
            await opened(there, piece(b"x" * 6, more=True), piece(b"x" * 6, more=True)).whole(10, "image")

    asyncio.run(main())


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x", ""])
def test_a_compressed_body_is_refused_unread(encoding: str) -> None:
    async def main() -> None:
        there = Intake(MemoryLimit(0))
        with pytest.raises(WrongTypeError, match="Content-Encoding: must be left out"):
            await there.open(request_of(piece(b"x"), headers={"content-encoding": encoding})).whole(10, "body")
        with pytest.raises(WrongTypeError, match="do not compress it"):
            async for _ in there.open(request_of(piece(b"x"), headers={"content-encoding": encoding})).pieces(
                10, 10, "image", 1
            ):
                pass
        as_it_is = request_of(piece(b"x"), headers={"content-encoding": "Identity"})
        assert await there.open(as_it_is).whole(10, "body") == b"x"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("header", "count"), [("0", 0), ("12", 12), ("", None), ("-1", None), ("²", None), ("٣", None)]
)
def test_a_header_states_bytes_or_nothing(header: str, count: int | None) -> None:
    assert bytes_stated(header) == count
    assert bytes_stated("9" * 5_000) is None


def test_a_client_that_hangs_up_is_told_apart() -> None:
    async def main() -> None:
        with pytest.raises(ClientDisconnect):
            await opened(Intake(MemoryLimit(0)), piece(b"x", more=True), {"type": "http.disconnect"}).whole(9, "body")

    asyncio.run(main())


def test_what_a_body_holds_is_given_back_when_it_is_done() -> None:
    memory, freed = MemoryLimit(10 * FREE_BYTES), 0

    def count() -> None:
        nonlocal freed
        freed += 1

    async def main() -> None:
        with opened(Intake(memory, count), piece(b"x" * FREE_BYTES, more=True), piece(b"x" * FREE_BYTES)) as body:
            data = await body.whole(LIMIT, "image", copies=2)
            assert memory.body_bytes == 4 * FREE_BYTES
            body.keep(len(data))
            assert memory.body_bytes == 2 * FREE_BYTES

    asyncio.run(main())
    assert (memory.body_bytes, freed) == (0, 2)


def test_small_bodies_hold_nothing() -> None:
    async def main() -> None:
        with opened(Intake(MemoryLimit(0)), piece(b"x" * FREE_BYTES)) as body:
            assert len(await body.whole(LIMIT, "body")) == FREE_BYTES

    asyncio.run(main())


def test_memory_for_a_fast_body_comes_from_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = clock(monkeypatch)

    async def main() -> None:
        there = Intake(MemoryLimit(8 * FREE_BYTES))
        chunk = piece(b"x" * 2 * FREE_BYTES, more=True)
        slow, reading = await arriving(there, chunk)
        assert slow.held_bytes == 4 * FREE_BYTES
        now_s(4.0)
        with opened(there, piece(b"x" * 2 * FREE_BYTES)) as fast:
            assert len(await fast.whole(LIMIT, "image")) == 2 * FREE_BYTES
            with pytest.raises(OverloadedError) as refused:
                await reading
            assert refused.value.reason == "memory"
            assert slow.held_bytes == 0

    asyncio.run(main())


def test_a_body_that_is_itself_the_slowest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = clock(monkeypatch)

    async def main() -> None:
        there = Intake(MemoryLimit(8 * FREE_BYTES))
        late = there.open(request_of(piece(b"x" * 2 * FREE_BYTES)))
        now_s(4.0)
        fast, reading = await arriving(there, piece(b"x" * 2 * FREE_BYTES, more=True))
        with late, pytest.raises(OverloadedError) as refused:
            await late.whole(LIMIT, "image")
        assert refused.value.reason == "memory"
        assert fast.held_bytes == 4 * FREE_BYTES
        reading.cancel()

    asyncio.run(main())


def test_bodies_that_hold_nothing_are_not_given_up_for_memory() -> None:
    async def main() -> None:
        there = Intake(MemoryLimit(0))
        small, reading = await arriving(there, piece(b"x", more=True))
        with pytest.raises(OverloadedError):
            await opened(there, piece(b"x" * 2 * FREE_BYTES)).whole(LIMIT, "image")
        assert small in there.arriving
        reading.cancel()

    asyncio.run(main())


def test_clients_that_drip_make_room_for_others_and_the_slowest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = clock(monkeypatch)

    async def main() -> None:
        there = Intake(MemoryLimit(10**9), at_once=3)
        dripping = []
        for number in range(4):
            now_s(number)
            dripping.append(await arriving(there, piece(b"x", more=True)))
        now_s(10.0)
        with opened(there, piece(b"whole")) as whole:
            assert await whole.whole(LIMIT, "body") == b"whole"
        with pytest.raises(OverloadedError) as refused:
            await dripping[0][1]
        assert refused.value.reason == "reading"
        assert [body in there.arriving for body, _ in dripping] == [False, True, True, True]
        # Three slow ones are as many as may arrive: a body that is there at once costs nobody a place.
        with opened(there, piece(b"whole")) as whole:
            assert await whole.whole(LIMIT, "body") == b"whole"
        assert len(there.arriving) == 3
        for _, reading in dripping[1:]:
            reading.cancel()

    asyncio.run(main())


def test_a_body_that_stops_arriving_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "READ_LIMIT_S", 0.01)
    there = Intake(MemoryLimit(0))
    with pytest.raises(TooSlowError, match="body: must arrive within"):
        asyncio.run(opened(there, piece(b"{", more=True)).whole(9, "body"))
    assert there.arriving == set()


def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the intake's clock at 0; the function sets it."""
    now = [0.0]
    monkeypatch.setattr(intake, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def test_a_body_that_is_given_up_closes_what_it_waited_for() -> None:
    closed = []

    async def receive() -> Message:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)
        raise AssertionError("nobody sets the event")

    async def main() -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
        task = asyncio.create_task(Intake(MemoryLimit(0)).open(Request(scope, receive)).whole(LIMIT, "body"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert closed == [True]
