"""What processes hold, and which series are said to grow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import psutil
import pytest

from benchmarks.held import held, trend

AT_S = [10.0 * number for number in range(60)]
WORKER = "import socket, sys; held = [socket.socket() for _ in range(20)]; print(flush=True); sys.stdin.read()"
SERVER = f"""
import subprocess, sys
for _ in range(2):
    worker = subprocess.Popen([sys.executable, "-c", {WORKER!r}, "--service-name", "sieve"], stdout=subprocess.PIPE)
    worker.stdout.readline()
print(flush=True)
sys.stdin.read()
"""


def test_processes_of_one_kind_are_counted_together() -> None:
    line = [sys.executable, "-c", SERVER]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        kinds = held(server.pid)
        workers = psutil.Process(server.pid).children()
        server.communicate(b"")
        psutil.wait_procs(workers, timeout=30)
    assert set(kinds) == {"server", "sieve"}
    assert kinds["sieve"]["files"] >= 40
    assert kinds["sieve"]["threads"] == 2 * kinds["server"]["threads"]
    for each in kinds.values():
        assert 1 < each["pss_mb"] < each["rss_mb"]


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([100.0 + 0.1 * place for place in range(60)], True),
        ([100.0 + 0.02 * place for place in range(60)], False),
        ([100.0 - 0.1 * place for place in range(60)], False),
        ([40.0] * 60, False),
        ([100.0 + 50 * (place % 6 == 0) for place in range(60)], False),
        (list(100 + np.random.default_rng(1).normal(0, 20, 60)), False),
        (list(100 + 0.5 * np.arange(60) + np.random.default_rng(1).normal(0, 5, 60)), True),
    ],
    ids=["it grows", "by too little", "it shrinks", "constant", "peaks now and then", "noise", "it grows under noise"],
)
def test_a_series_grows_by_more_than_its_noise(values: list[float], grows: bool) -> None:
    assert trend("memory", AT_S, values)["grows"] is grows
