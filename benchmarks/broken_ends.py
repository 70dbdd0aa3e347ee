"""How a service under load ends: by a signal, or because its server is killed. And a publishing, on a full disk."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import psutil

from benchmarks.breaking import Load, drive
from benchmarks.homes import ROLES, latest
from loadtest.traffic.process import Running
from optimize.publish.entries import Entry, add_together
from serving.errors import ArtifactError

AFTER_S = 2.0
"""The load goes on for so long after the end began."""
END_LIMIT_S = 60.0


class Ended(TypedDict):
    """How a service ended under load.

    `accepted`: requests that were due before. `failed`: those of them that got no answer. `took_s`: until all of its
    processes had ended; None if they did not.
    """

    accepted: int
    failed: int
    took_s: float | None


def terminate(server: Running) -> None:
    """SIGTERM, as an orchestrator sends it."""
    server.process.terminate()


def interrupt(server: Running) -> None:
    """SIGINT to all processes, as ctrl-C in a terminal sends it."""
    os.killpg(server.process.pid, signal.SIGINT)


def kill_server(server: Running) -> None:
    """SIGKILL to the process that has started the others, and to none of these."""
    server.process.kill()


ENDS: dict[str, Callable[[Running], None]] = {
    "SIGTERM while busy": terminate,
    "SIGINT while busy": interrupt,
    "the process that started all others is killed": kill_server,
}


def end_once(load: Load, server: Running, by: Callable[[Running], None], seed: int) -> Ended:
    """Let `by` end a service under load."""
    replies, start_s, (began_s, took_s) = drive(
        load, load.before_s + AFTER_S, seed, lambda: _end(load.before_s, server, by)
    )
    before = [reply for reply in replies if reply.due_s + reply.lag_ms / 1e3 < began_s - start_s]
    failed = sum(reply.kind in ("failed", "timed out") for reply in before)
    return {"accepted": len(before), "failed": failed, "took_s": took_s}


def _end(before_s: float, server: Running, by: Callable[[Running], None]) -> tuple[float, float | None]:
    """End a server; when that began, on the monotonic clock, and how long it took."""
    time.sleep(before_s)
    all_of_it = psutil.Process(server.process.pid).children(recursive=True)
    began_s = time.monotonic()
    by(server)
    _, alive = psutil.wait_procs(all_of_it, timeout=END_LIMIT_S)
    took_s = round(time.monotonic() - began_s, 1)
    return began_s, None if alive else took_s


def publish_on_full_disks(models: Path, cascade: str) -> tuple[int, int]:
    """Publish a cascade anew where there is room for half of a graph; how often, and how often that left a trace."""
    tried, left = 0, 0
    before = files(models)
    for role in ROLES[:2]:
        folder = latest(models, f"{cascade}-{role}")
        largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        tried += 1
        with room_for(largest // 2):
            try:
                add_together([_again(models, f"{cascade}-{each}") for each in ROLES], models)
                left += 1  # it did not even fail
            except ArtifactError:
                left += files(models) != before
    return tried, left


def _again(models: Path, name: str) -> Entry:
    folder = latest(models, name)
    return Entry(name=name, folder=folder, module="benchmarks", labels={}, metadata={}, same=lambda _: False)


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as on a disk that is full from there on."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def files(models: Path) -> dict[Path, bytes]:
    """All files of a model store and of what lies beside it, but the lock."""
    return {path: path.read_bytes() for path in models.parent.rglob("*") if path.is_file() and path.suffix != ".lock"}
