"""Real servers: `bentoml serve` in a process group of its own, ended by that group's id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

START_LIMIT_S = 90


class Server:
    """A running `bentoml serve`."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20)

    def worker(self, service: str) -> int:
        """Process id of the worker of a service, a child of the server."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        (pid,) = [child.pid for child in children if f"--service-name {service}" in " ".join(child.cmdline())]
        return pid


def command(*arguments: str, home: Path) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    return [sys.executable, "-m", "bentoml", *arguments], environment


@contextmanager
def serve(*arguments: str, home: Path, folder: Path, log: Path) -> Iterator[Server]:
    """`bentoml serve ARGUMENTS` in `folder`, ready; on 127.0.0.1 and a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line, environment = command("serve", *arguments, "--host", "127.0.0.1", "--port", str(port), home=home)
    with log.open("wb") as output:
        process = subprocess.Popen(
            line, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        _wait(server)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(server: Server) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if httpx.get(f"{server.url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not ready after {START_LIMIT_S} s:\n{server.log.read_text()}")


TINY = ("--arg", "text=tiny-text", "--arg", "image=tiny-image")
