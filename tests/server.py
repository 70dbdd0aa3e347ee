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

from loadtest.traffic.process import running


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


def variables(home: Path) -> dict[str, str]:
    """What a server of the tests has in its environment."""
    return {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}


def command(*arguments: str, home: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "bentoml", *arguments], {**os.environ, **variables(home)}


@contextmanager
def serve(*arguments: str, home: Path, folder: Path, log: Path) -> Iterator[Server]:
    """`bentoml serve ARGUMENTS` in `folder`, ready; on 127.0.0.1 and a free port."""
    line = [sys.executable, "-m", "bentoml", "serve", *arguments, "--host", "127.0.0.1", "--port", "{port}"]
    with running(line, variables=variables(home), ready="/readyz", log=log, folder=folder) as server:
        yield Server(server.process, server.url, log)


TINY = ("--arg", "text=tiny-text", "--arg", "image=tiny-image")
