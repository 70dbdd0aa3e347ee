"""Servers under test: start one in a process group of its own, wait until it is ready, and end it with ctrl-C."""

from __future__ import annotations

import contextlib
import os
import random
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
STARTS = 3
PORTS = range(20_000, 32_768)
TAKEN = "Address already in use"


def free_port() -> int:
    """A port of 127.0.0.1 that no process has now.

    It lies below those that Linux gives to outgoing connections, so none of them takes it before the server does.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):  # other processes may draw at the same time
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise NotStartedError(
        f"no port of 127.0.0.1 from {PORTS.start} to {PORTS.stop - 1} is free; end what listens there"
    )


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `url` answers 200; NotStartedError when the server ends, or is not ready in START_LIMIT_S seconds."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        if server.poll() is not None:
            raise NotStartedError(f"the server ended with status {server.returncode}: {_end_of(log)}")
        with (
            contextlib.suppress(OSError, urllib.error.HTTPError),
            urllib.request.urlopen(url, timeout=5) as response,  # nosec B310 # an address of ours
        ):
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
    host: str = "127.0.0.1",
    port: int | None = None,
) -> Iterator[Running]:
    """Start the command `line` in `folder`, and give the server once GET `ready` answers 200.

    {port} in `line` becomes `port`, or a free one; it listens on `host`. `variables` are added to this process's
    environment. The server ends with the block, also when this process receives SIGTERM. Raises NotStartedError.
    """
    # env(1) adds the variables to the inherited environment; this file reads no environment itself.
    whole = ["env", *(f"{name}={value}" for name, value in (variables or {}).items()), *line]
    with _exit_when_terminated(), contextlib.ExitStack() as stack:
        for start in range(1, STARTS + 1):
            number = port or free_port()
            words, url = [part.replace("{port}", str(number)) for part in whole], f"http://{host}:{number}"
            with log.open("wb") as output:
                server = subprocess.Popen(words, cwd=folder, stdout=output, stderr=output, start_new_session=True)
            stack.callback(stop, server)
            try:
                wait_until_ready(f"{url}{ready}", server, log)
                break
            except NotStartedError:
                # BentoML looks for ports of its own, and lets them go again before it listens there.
                if start == STARTS or TAKEN not in _end_of(log):
                    raise
        yield Running(url, server)


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
