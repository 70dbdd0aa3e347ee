"""Clients that are slow on purpose, all at once, while others ask."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.hostile.raw import Answer, answers_in, place_of
from tests.hostile.test_keep_alive import asked_by_all
from tests.server import PATIENT_MS, Server, in_full_async

GOOD = {"text": "where is my refund", "budget_ms": PATIENT_MS}


def head(path: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n" % path


# What is sent first, what follows each second, and on how many connections at once.
SLOW = {
    "body": (head(b"/classify_text"), b" ", 300),
    "no body of texts": (head(b"/classify_texts"), b"", 1),
    "no body of an image": (head(b"/classify_image"), b"", 1),
    "head": (head(b"/classify_text")[:-2], b"x", 150),
    "nothing but a method": (b"P", b"O", 50),
}


async def dripping(url: str, begin: bytes, more: bytes) -> Answer | None:
    """Send a byte a second until the server answers or closes; the answer."""
    reader, writer = await asyncio.open_connection(*place_of(url))

    async def drip() -> None:
        writer.write(begin)
        while True:
            await asyncio.sleep(1)
            writer.write(more)

    dripped = asyncio.create_task(drip())
    try:
        got = b""
        while piece := await reader.read(65_536):
            got += piece
            if answers := answers_in(got):
                return answers[0]
        return None
    except ConnectionError:
        return None
    finally:
        dripped.cancel()
        writer.close()


def test_slow_heads_and_bodies_are_ended_and_keep_nobody_out(server: Server) -> None:
    """Of 500 connections that send a byte a second none is left after the limits of time; good requests go on.

    So do 100 connections on which nothing comes for about five seconds.
    """

    async def main() -> tuple[dict[str, Counter[int]], int, list[Counter[int]]]:
        idle = asyncio.create_task(asked_by_all([server.url], 100, 1, 0))
        slow = {
            name: [asyncio.create_task(dripping(server.url, begin, more)) for _ in range(count)]
            for name, (begin, more, count) in SLOW.items()
        }
        everyone = asyncio.gather(*(task for tasks in slow.values() for task in tasks))
        good = 0
        async with server.async_client(4) as client:
            while not everyone.done():
                reply = await in_full_async(client, "/classify_text", json=GOOD)
                assert reply.status_code == 200
                good += 1
                await asyncio.sleep(0.1)
        await everyone
        return (
            {
                name: Counter(answer.status if answer else 0 for answer in map(asyncio.Task.result, tasks))
                for name, tasks in slow.items()
            },
            good,
            await idle,
        )

    async def limited() -> tuple[dict[str, Counter[int]], int, list[Counter[int]]]:
        async with asyncio.timeout(120):
            return await main()

    statuses, good, idle = asyncio.run(limited())
    assert good > 10
    assert idle == [{200: 200}], "BentoML's own keep-alive of five seconds would lose some of these"
    assert set(statuses["body"]) == {408, 503}, "more than 256 at once: the slowest are given up"
    assert {*statuses["head"], *statuses["no body of texts"], *statuses["no body of an image"]} == {408}
    assert set(statuses["nothing but a method"]) <= {400, 408}, "POOO is no method"
