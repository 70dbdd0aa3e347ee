"""Real servers: `bentoml serve` in a process group of its own, ended by that group's id."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from loadtest.process import free_port, stop, wait_until_ready


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
    port = free_port()
    line, environment = command("serve", *arguments, "--host", "127.0.0.1", "--port", str(port), home=home)
    with log.open("wb") as output:
        process = subprocess.Popen(
            line, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_until_ready(f"{server.url}/readyz", process, log)
        yield server
    finally:
        stop(process)


TINY = ("--arg", "text=tiny-text", "--arg", "image=tiny-image")
