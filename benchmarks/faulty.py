"""A way to a server on which things go wrong: it passes connections on, and does to what comes back what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal

from loadtest.traffic.process import free_port

Fault = Literal["none", "slow", "refused", "garbage", "byte by byte"]
SLOWER = 10
"""How many times as long a slow server takes."""
BYTE_S = 0.005
CHUNK = 65_536
PAGE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n<h1>?</h1>\n"
NOISE = random.Random(1).randbytes(300)  # nosec B311 # no secret


class _Asked:
    """When the last request of a connection came."""

    at_s: float | None = None
    garble: Callable[[bytes, bool], bytes]
    """Which garbage its reply becomes; takes a piece of it, and whether it is the first."""

    def took_s(self) -> float:
        """The seconds until its reply begins; 0 for what comes of it later."""
        at_s, self.at_s = self.at_s, None
        return 0.0 if at_s is None else time.monotonic() - at_s


class Way:
    """A port of `host` that leads to the server at `target`, a port of 127.0.0.1. For a `with` block.

    `fault` is what happens to replies from now on:

    - `slow`: each comes after SLOWER times as long
    - `refused`: connections break, and none is taken
    - `garbage`: in turn noise, the reply with each bit of its body turned, and a page of HTML
    - `byte by byte`: each comes a byte at a time, BYTE_S apart
    """

    def __init__(self, target: int, host: str = "127.0.0.1", port: int | None = None) -> None:
        self.host, self.port = host, port or free_port()
        self.fault: Fault = "none"
        self.passed = 0
        self._target, self._garbage = target, itertools.cycle((_noise, _turned, _page))
        self._loop, self._open = asyncio.new_event_loop(), set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Way:
        self._thread = threading.Thread(target=self._loop.run_forever, name="way", daemon=True)
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._refuse())
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def does(self, fault: Fault) -> None:
        """Let `fault` happen from now on."""
        if (fault == "refused") != (self.fault == "refused"):
            self._do(self._refuse() if fault == "refused" else self._listen())
        self.fault = fault

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, self.host, self.port)

    async def _refuse(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        asked = _Asked()
        with contextlib.suppress(OSError, asyncio.CancelledError), self._kept(writer):
            theirs, behind = await asyncio.open_connection("127.0.0.1", self._target)
            with self._kept(behind):
                requests = asyncio.ensure_future(_pass(reader, behind, asked))
                try:
                    while reply := await theirs.read(CHUNK):
                        await self._answer(reply, writer, asked)
                finally:
                    requests.cancel()
        self._tasks.discard(task)

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reply: bytes, writer: asyncio.StreamWriter, asked: _Asked) -> None:
        """Send on what came of a reply: all of it, or one of its pieces."""
        self.passed += 1
        begins, took_s = asked.at_s is not None, asked.took_s()
        match self.fault:
            case "slow":
                await asyncio.sleep((SLOWER - 1) * took_s)
                writer.write(reply)
            case "garbage":
                if begins:
                    asked.garble = next(self._garbage)
                writer.write(asked.garble(reply, begins))
            case "byte by byte":
                for place in range(len(reply)):
                    if writer.is_closing():
                        return
                    writer.write(reply[place : place + 1])
                    await asyncio.sleep(BYTE_S)
            case _:
                writer.write(reply)
        await writer.drain()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: _Asked) -> None:
    """Pass requests on, and note when one came."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            asked.at_s = time.monotonic()
            writer.write(data)
            await writer.drain()
    writer.close()


def _noise(_reply: bytes, begins: bool) -> bytes:
    return NOISE if begins else b""


def _turned(reply: bytes, begins: bool) -> bytes:
    head, blank, body = reply.partition(b"\r\n\r\n") if begins else (b"", b"", reply)
    return head + blank + bytes(byte ^ 0xFF for byte in body)


def _page(_reply: bytes, begins: bool) -> bytes:
    return PAGE if begins else b""
