"""A real nats-server, which is killed and started again on the same disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtest.traffic.process import free_port
from serving.audit.broker import Broker

SERVER = shutil.which("nats-server", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
LIMIT_S = 60.0


class Nats:
    """A server with JetStream, whose streams lie in `folder`. `arguments` go to it as they are."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        if SERVER is None:
            pytest.skip("no nats-server: apt-get install nats-server")
        self.port, self._folder, self._arguments = free_port(), folder, arguments
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        assert SERVER is not None
        line = [SERVER, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._folder), *self._arguments]
        with (self._folder.parent / f"{self._folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(line, stdout=log, stderr=log)
        end_s = time.monotonic() + LIMIT_S
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert self._process.poll() is None, "it has ended"
            assert time.monotonic() < end_s
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, as when the machine's memory is out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Nats:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


async def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.02)


def with_broker(url: str, work: Callable[[Broker], Awaitable[None]], *, connected: bool = True) -> None:
    """Run `work` with a broker that has connected; without `connected`, at once."""

    async def main() -> None:
        broker = Broker(url, "test")
        broker.start()
        try:
            if connected:
                await until(lambda: broker.connected)
            await asyncio.wait_for(work(broker), LIMIT_S)
        finally:
            await broker.close()

    asyncio.run(main())
