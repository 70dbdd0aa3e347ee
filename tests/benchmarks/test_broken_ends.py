"""Processes that end with their server or live on, and a publishing without room. tests/broken ends a real service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import broken_ends
from benchmarks.breaking import Load
from benchmarks.broken_ends import end_once, interrupt, kill_server, publish_on_full_disks, terminate
from benchmarks.homes import NEVER, make_home
from loadtest.traffic.process import Running, stop
from loadtest.traffic.workload import text_samples
from tests.conftest import TinyCascades
from tests.loadtest.little_server import little_server, ok

# A server that ends its one worker when it is told to end.
SERVER = """
import signal, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
def end(*_):
    worker.kill()
    worker.wait()
    sys.exit()
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
print(flush=True)
signal.pause()
"""


@pytest.fixture
def server() -> Iterator[Running]:
    line = [sys.executable, "-c", SERVER]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(line, **pipes, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with little_server(lambda _: ok()) as url:
            yield Running(url, process)
        stop(process)


def load(url: str) -> Load:
    return Load(url, text_samples(None, 50, seed=1), rate=50, before_s=0.4)


@pytest.mark.parametrize("by", [terminate, interrupt], ids=["SIGTERM", "SIGINT"])
def test_a_service_has_ended_when_its_last_process_has(
    server: Running, monkeypatch: pytest.MonkeyPatch, by: Callable[[Running], None]
) -> None:
    monkeypatch.setattr(broken_ends, "AFTER_S", 0.4)
    said = end_once(load(server.url), server, by, seed=1)
    assert said["accepted"] > 5
    assert said["failed"] == 0
    assert said["took_s"] is not None


def test_a_process_that_lives_on_is_seen(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken_ends, "AFTER_S", 0.4)
    monkeypatch.setattr(broken_ends, "END_LIMIT_S", 0.5)
    assert end_once(load(server.url), server, kill_server, seed=1)["took_s"] is None


def test_a_publishing_without_room_leaves_no_trace(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=NEVER)
    assert publish_on_full_disks(home / "models", "tiny-text") == (2, 0)
