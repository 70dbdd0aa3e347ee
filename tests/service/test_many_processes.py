"""Metrics of a service whose API runs in two processes, one of which is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import grpc
import httpx
import psutil

from loadtest.traffic.process import free_port
from serving.protobuf import new
from tests.conftest import ROOT, TinyCascades
from tests.server import Server, serve
from tests.service.test_degraded import TEXT_ONLY

SENT = 60


def workers(server: Server) -> set[int]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return {child.pid for child in children if "--service-name sieve" in " ".join(child.cmdline())}


def answered(server: Server) -> tuple[float, float]:
    """Requests that were answered, in full or not, and the processes whose limit is counted in."""
    text = httpx.get(f"{server.url}/metrics").text
    counts = re.findall(r'^sieve_requests_total{.*outcome="(?:ok|degraded)".*} (\S+)$', text, re.MULTILINE)
    (limit,) = re.findall(r"^sieve_in_flight_limit (\S+)$", text, re.MULTILINE)
    return sum(map(float, counts)), float(limit) / 256


def test_two_processes_count_as_one_and_a_dead_one_leaves_no_gauge(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    shutil.copytree(tiny_cascades.home / "models", tmp_path / "home" / "models", symlinks=True)
    settings = tmp_path / "settings.toml"
    settings.write_text("workers = 2\n")
    log, port = tmp_path / "log", free_port()
    more = ("--arg", f"settings={settings}", "--arg", f"grpc_port={port}")
    with serve(*TEXT_ONLY, *more, home=tmp_path / "home", folder=ROOT, log=log) as server:
        before = workers(server)
        assert len(before) == 2
        until(lambda: answered(server)[1] == 2)
        for number in range(SENT):  # a new connection each, which either process may take
            reply = httpx.post(f"{server.url}/classify_text", json={"text": f"message {number}", "budget_ms": 1000})
            assert reply.status_code == 200
        until(lambda: answered(server)[0] == SENT)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(workers(server) - before) == 1)
        until(lambda: answered(server) == (SENT, 2))
        until(lambda: {pid for pid in workers(server) if listens(pid, port)} == workers(server))
        for _ in range(SENT):  # a new connection each; an answer counts, whichever process gives it
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                message = new("ModelReadyRequest", name="text").SerializeToString()
                ask = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
                # The one that has just begun to listen may still warm up.
                until(lambda: new("ModelReadyResponse").FromString(ask(message)).ready)  # noqa: B023


def listens(pid: int, port: int) -> bool:
    there = psutil.Process(pid).net_connections("tcp")
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in there)


def until(holds: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():  # type: ignore[operator]
                return
        except (httpx.TransportError, psutil.ZombieProcess):  # the killed process, for a moment
            pass
        assert time.monotonic() < end
        time.sleep(0.1)
