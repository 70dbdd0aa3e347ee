"""Servers that share a home: each has its own metrics, whatever becomes of the others."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from urllib.parse import urlparse

import httpx
import psutil

from serving.http.port import require_free_port
from tests.conftest import ROOT, TinyCascades
from tests.server import Server, command, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

SENT = 20


def counted(server: Server) -> float:
    text = httpx.get(f"{server.url}/metrics").text
    return sum(map(float, re.findall(r"^sieve_requests_total{.*} (\S+)$", text, re.MULTILINE)))


def ask(server: Server) -> None:
    """Send so many requests, and wait until they are counted."""
    for number in range(SENT):
        httpx.post(f"{server.url}/classify_text", json={"text": f"message {number}"})
    end_s = time.monotonic() + 30
    while counted(server) < SENT:
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_a_second_server_leaves_the_metrics_of_the_first_alone(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = with_point(tiny_cascades, tmp_path / "home")

    def folders() -> set[Path]:
        return set(home.glob("sieve-metrics-*-*"))

    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "first") as first:
        ask(first)
        (own,) = folders()
        with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "second") as second:
            workers = psutil.Process(second.process.pid).children(recursive=True)
            assert counted(second) == 0
            ask(second)
            assert (counted(first), counted(second)) == (SENT, SENT)
            # Its workers end after it and free its port.
            second.process.kill()
            gone, alive = psutil.wait_procs(workers, timeout=30)
            assert (len(gone), alive) == (2, [])
            require_free_port("127.0.0.1", urlparse(second.url).port or 0)
        line, variables = command("serve", *TEXT_ONLY, "--port", str(urlparse(first.url).port), home=home)
        refused = subprocess.run(
            line, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False
        )
        assert refused.returncode != 0
        assert "in use" in refused.stderr + refused.stdout
        assert counted(first) == SENT
        assert own in folders()
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "third") as third:
        assert counted(third) == 0
        assert len(folders()) == 1, "those of servers that have ended are gone"
