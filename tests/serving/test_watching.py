"""A real server after its start: no BentoML in the process that watches, and one copy of what its processes share."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.held import held
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, TINY, in_full, serve

SENT = {"text": "where is my refund", "budget_ms": 1000}


def test_the_server_is_small_and_its_processes_share_their_memory(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    with (
        serve(*TINY, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "log") as server,
        server.client() as client,
    ):
        in_full(client, "/classify_text", json=SENT)
        watching = psutil.Process(server.process.pid)
        assert " ".join(watching.cmdline()).strip().endswith(f"--port {client.base_url.port}"), "as it was typed"
        kinds = held(server.process.pid)
        assert set(kinds) == {"server", "sieve", "TextExpert", "ImageExpert"}
        assert kinds["server"]["threads"] <= 2, "one of Python, one of Circus's messages"
        # Each of the four maps it all; PSS counts what they share once.
        rss_mb, pss_mb = (sum(kind[key] for kind in kinds.values()) for key in ("rss_mb", "pss_mb"))
        assert pss_mb < 0.7 * rss_mb


def test_a_killed_process_comes_back_as_a_fork(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    with (
        serve(*TINY, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "log") as server,
        server.client() as client,
    ):
        in_full(client, "/classify_text", json=SENT)
        for service in ("TextExpert", "sieve"):
            before = server.worker(service)
            os.kill(before, signal.SIGKILL)
            end_s = time.monotonic() + LIMIT_S
            while psutil.pid_exists(before) or service not in held(server.process.pid):
                assert time.monotonic() < end_s, f"{service} comes back"
                time.sleep(0.1)
            assert psutil.Process(server.worker(service)).ppid() == server.process.pid
        end_s = time.monotonic() + LIMIT_S
        while not _answers(client):
            assert time.monotonic() < end_s, "the service comes back"
            time.sleep(0.1)
        uds = Path(server.expert_socket("text")).parent
    assert not uds.exists(), "the folder of the sockets goes with the server"


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
