"""Servers under test end with what started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from loadtest.errors import NotStartedError
from loadtest.traffic.process import STARTS, Running, free_port, running
from tests.conftest import ROOT

SERVICE = Path(__file__).parents[1] / "little_service.py"
# The port of something else in it is taken at its first starts, as those that BentoML looks for can be.
UNLUCKY = """
import runpy, sys
from pathlib import Path
starts = Path("starts")
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
if len(starts.read_text()) < int(sys.argv[2]):
    raise OSError(sys.argv[3])
sys.argv = ["SERVICE", sys.argv[1]]
runpy.run_path("SERVICE", run_name="__main__")
"""
# WAITING stands where a load test drives: an event loop of uvloop, or plain code.
DRIVER = """
import asyncio, sys, time, uvloop
from pathlib import Path
from loadtest.traffic.process import running
line = (sys.executable, "SERVICE", "{port}")
with running(line, ready="/readyz", log=Path("server.log"), folder=Path()) as server:
    print(server.process.pid, flush=True)
    WAITING
"""


@pytest.mark.parametrize("waiting", ["time.sleep(60)", "uvloop.run(asyncio.sleep(60))"])
def test_a_server_ends_when_what_started_it_is_told_to_terminate(waiting: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER.replace("WAITING", waiting).replace("SERVICE", str(SERVICE))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as driver:
        assert driver.stdout is not None
        server = int(driver.stdout.readline())
        os.kill(server, 0)
        time.sleep(0.3)  # so that it waits where it is to wait
        driver.terminate()
        assert driver.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_a_server_that_found_a_port_taken_is_started_again(tmp_path: Path) -> None:
    with _unlucky(tmp_path, STARTS, "[Errno 98] Address already in use") as server:
        assert server.process.poll() is None
    assert len((tmp_path / "starts").read_text()) == STARTS


@pytest.mark.parametrize(
    ("lucky", "why", "starts"),
    [(STARTS + 1, "[Errno 98] Address already in use", STARTS), (2, "[Errno 28] No space left on device", 1)],
    ids=["never lucky", "another reason"],
)
def test_a_server_that_does_not_start_is_given_up(lucky: int, why: str, starts: int, tmp_path: Path) -> None:
    with pytest.raises(NotStartedError) as raised, _unlucky(tmp_path, lucky, why):
        pass
    assert why in str(raised.value)
    assert len((tmp_path / "starts").read_text()) == starts


def _unlucky(folder: Path, lucky: int, why: str) -> AbstractContextManager[Running]:
    """A server that ends with `why` before its start number `lucky`."""
    line = (sys.executable, "-c", UNLUCKY.replace("SERVICE", str(SERVICE)), "{port}", str(lucky), why)
    return running(line, ready="/readyz", log=folder / "log", folder=folder)


def test_a_free_port_is_none_that_an_outgoing_connection_gets() -> None:
    first, _ = (int(part) for part in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert free_port() < first
