"""Servers under test end with what started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

SERVICE = Path(__file__).parents[1] / "little_service.py"
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
