"""Servers under test: started, awaited and ended as a person would, each in a process group of its own."""

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


class NotStartedError(SystemExit):
    """A server that ended, or was not ready in time; the text has the end of its log. Where nobody catches it, a
    command ends with that text.
    """


START_LIMIT_S = 120.0
END_LIMIT_S = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until `url` answers with 200; NotStartedError when the server ends, or takes too long."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        if server.poll() is not None:
            raise NotStartedError(f"the server ended with status {server.returncode}: {_end_of(log)}")
        with contextlib.suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.2)
    raise NotStartedError(f"the server was not ready after {START_LIMIT_S:.0f} s: {_end_of(log)}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server as a terminal's ctrl-C does, and in the end whatever is left of its process group."""
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
    """Start `line`, in which {port} stands for `port` or a free one, in `folder`; there once GET `ready` answers.

    It ends with the block, also when this process is told to terminate.
    """
    port = port or free_port()
    # By env(1), so that the server has these beside what this process has.
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
    """SIGTERM unwinds the stack, as ctrl-C does; by default it would leave servers behind. Only a main thread can."""
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
