"""Clients that send valid requests over many connections, and never read an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import psutil

from tests.hostile.raw import place_of
from tests.hostile.test_slow import GOOD
from tests.server import LIMIT_S, Server, in_full_async

CONNECTIONS, PIPELINED, GOOD_CONNECTIONS = 40, 300, 4
BODY = json.dumps(GOOD).encode()
POST = b"POST /classify_text HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
GET = b"GET /docs.json HTTP/1.1\r\nHost: x\r\n\r\n"
"""Its answer is long: few of them fill what the kernel takes."""
MOST_GROWTH_BYTES = 300_000_000
"""For all connections: their kernel's part is not the process's, and what Python has kept once it uses again."""


async def never_reading(url: str, sent: bytes, connected: asyncio.Semaphore) -> None:
    """Send as much as the server takes, and wait until that is cancelled."""
    loop, connection = asyncio.get_running_loop(), socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    with connection:
        await loop.sock_connect(connection, place_of(url))
        connected.release()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(connection, sent)
        await asyncio.Event().wait()


def test_clients_that_never_read_are_cut_off_and_keep_nobody_out(server: Server) -> None:
    process = psutil.Process(server.worker("sieve"))
    before_bytes = process.memory_info().rss
    most_left = len(process.net_connections("tcp")) + GOOD_CONNECTIONS

    async def main() -> tuple[int, int]:
        good, most_bytes, connected = 0, 0, asyncio.Semaphore(0)
        unread = [
            asyncio.create_task(never_reading(server.url, one * PIPELINED, connected))
            for one in (GET, POST + GET)
            for _ in range(CONNECTIONS // 2)
        ]
        for _ in unread:
            await connected.acquire()
        async with server.async_client(GOOD_CONNECTIONS) as client:
            while good < 10 or len(process.net_connections("tcp")) > most_left:
                reply = await in_full_async(client, "/classify_text", json=GOOD)
                assert reply.status_code == 200
                good += 1
                most_bytes = max(most_bytes, process.memory_info().rss)
                await asyncio.sleep(0.1)
        for task in unread:
            task.cancel()
        await asyncio.gather(*unread, return_exceptions=True)
        return good, most_bytes

    async def limited() -> tuple[int, int]:
        async with asyncio.timeout(2 * LIMIT_S):
            return await main()

    good, most_bytes = asyncio.run(limited())
    assert good >= 10
    assert most_bytes - before_bytes < MOST_GROWTH_BYTES
