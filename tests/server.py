"""Real servers: `bentoml serve` in a process group of its own, ended by that group's id; and patience with them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from loadtest.traffic.process import running


class Server:
    """A running `bentoml serve`."""

    grpc = ""
    """Host and port of its gRPC server, if it has one."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, limits=limits())

    def async_client(self, connections: int) -> httpx.AsyncClient:
        """A client for an event loop, with so many connections at most."""
        return httpx.AsyncClient(base_url=self.url, timeout=60, limits=limits(max_connections=connections))

    def worker(self, service: str) -> int:
        """Process id of the worker of a service, a child of the server."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        (pid,) = [child.pid for child in children if f"--service-name {service} " in " ".join([*child.cmdline(), ""])]
        return pid

    def expert_socket(self, kind: str) -> str:
        """The unix socket of the expert for `kind`, text or image. Each worker holds the sockets of all."""
        digest = httpx.get(f"{self.url}/models").json()[kind]["expert"]["digest"]
        held = psutil.Process(self.worker(f"{kind.title()}Expert")).net_connections("unix")
        for path in {str(one.laddr) for one in held if str(one.laddr).endswith(".sock")}:
            with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://expert") as client:
                if client.get("/model").headers["etag"] == f'"{digest}"':
                    return path
        raise AssertionError(f"no expert for {kind} listens on a unix socket")


def limits(**keys: Any) -> httpx.Limits:
    """The client closes no connection, since the server keeps them for longer than a test leaves one alone.

    On a busy machine httpcore may close one for its age that it has just given to a request.
    """
    return httpx.Limits(keepalive_expiry=None, **keys)


def variables(home: Path) -> dict[str, str]:
    """What a server of the tests has in its environment."""
    return {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}


def command(*arguments: str, home: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "bentoml", *arguments], {**os.environ, **variables(home)}


@contextmanager
def serve(*arguments: str, home: Path, folder: Path, log: Path, before: Sequence[str] = ()) -> Iterator[Server]:
    """`bentoml serve ARGUMENTS` in `folder`, ready; on 127.0.0.1 and a free port. `before`: what runs the command."""
    line = [*before, sys.executable, "-m", "bentoml", "serve", *arguments, "--host", "127.0.0.1", "--port", "{port}"]
    # Most tests look at one process; those of several have settings of their own.
    one = {} if any(part.startswith("settings=") for part in arguments) else {"SIEVE_WORKERS": "1"}
    with running(line, variables={**variables(home), **one}, ready="/readyz", log=log, folder=folder) as server:
        yield Server(server.process, server.url, log)


TINY = ("--arg", "text=tiny-text", "--arg", "image=tiny-image")

# The largest budget that a request may have.
PATIENT_MS = 1000
# How long a test asks again before it says that the service does not recover.
LIMIT_S = 120.0


def in_full(client: httpx.Client, path: str, **sent: Any) -> httpx.Response:
    """The reply to a POST, which is repeated until it is neither shed nor degraded.

    On a machine that is busy with other work, a service sheds and degrades as it should.
    """
    end_s, pause = time.monotonic() + LIMIT_S, pauses()
    while lacking(reply := client.post(path, **sent)):
        assert time.monotonic() < end_s, reply.text
        time.sleep(next(pause))
    return reply


async def in_full_async(client: httpx.AsyncClient, path: str, **sent: Any) -> httpx.Response:
    """The same for a client of an event loop."""
    end_s, pause = time.monotonic() + LIMIT_S, pauses()
    while lacking(reply := await client.post(path, **sent)):
        assert time.monotonic() < end_s, reply.text
        await asyncio.sleep(next(pause))
    return reply


def lacking(reply: httpx.Response) -> bool:
    """Whether a request was shed, or an answer in it is degraded."""
    if reply.status_code == 503:
        return True
    body = reply.json()
    return any(answer.get("degraded") for answer in (body, *body.get("answers", ())))


def pauses() -> Iterator[float]:
    """Seconds to wait before each repetition: longer each time, as a client does."""
    seconds = 0.05
    while True:
        yield seconds
        seconds = min(2 * seconds, 1.0)
