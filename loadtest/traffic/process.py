"""Servers under test: start one in a process group of its own, wait until it is ready, and end it with ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import NotStartedError

START_LIMIT_S = 120.0
END_LIMIT_S = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `url` answers 200; NotStartedError when the server ends, or is not ready in START_LIMIT_S seconds."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        if server.poll() is not None:
            raise NotStartedError(f"the server ended with status {server.returncode}: {_end_of(log)}")
        with contextlib.suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(url, timeout=5) as response:
            if response.status == 200:
                return
        time.sleep(0.2)
    raise NotStartedError(f"the server was not ready after {START_LIMIT_S:.0f} s: {_end_of(log)}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Send SIGINT, as ctrl-C does; after END_LIMIT_S seconds, kill what is left of the server's process group."""
    try:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(END_LIMIT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready."""

    url: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(
    line: Sequence[str],
    *,
    ready: str,
    log: Path,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Running]:
    """Start the command `line` in `folder`, and give the server once GET `ready` answers 200.

    {port} in `line` becomes `port`, or a free one. `variables` are added to this process's environment. The server ends
    with the block, also when this process receives SIGTERM. Raises NotStartedError.
    """
    port = port or free_port()
    # env(1) adds the variables to the inherited environment; this file reads no environment itself.
    settings = [f"{name}={value}" for name, value in (variables or {}).items()]
    whole = ["env", *settings, *(part.replace("{port}", str(port)) for part in line)]
    url = f"http://127.0.0.1:{port}"
    with _exit_when_terminated():
        with log.open("wb") as output:
            server = subprocess.Popen(whole, cwd=folder, stdout=output, stderr=output, start_new_session=True)
        try:
            wait_until_ready(f"{url}{ready}", server, log)
            yield Running(url, server)
        finally:
            stop(server)


@contextlib.contextmanager
def _exit_when_terminated() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as ctrl-C does; its default would leave servers running.

    Only the main thread can set a handler, so in another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
