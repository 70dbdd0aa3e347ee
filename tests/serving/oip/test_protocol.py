"""The protocol of a service: gRPC only where a port is named, and nothing of it imported elsewhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import grpc
import pytest

from loadtest.traffic.process import free_port
from serving.cascade.served import Served
from serving.oip.protocol import LOCAL, Oip
from serving.oip.rest import METHODS
from serving.watch.metrics import Metrics
from tests.conftest import ROOT
from tests.serving.oip.models import Service, model

WITHOUT = """
import sys
import serving.http.api, serving.oip.protocol, serving.oip.rest
heavy = sorted(name for name in sys.modules if name.partition(".")[0] in ("grpc", "grpc_health", "google"))
assert not heavy, heavy
"""


def oip(metrics: Metrics, grpc_port: str = "") -> Oip:
    service = Service(metrics)
    return Oip(Served([model()]), service.guard, service.classifying, service.readiness, grpc_port)


def test_nothing_of_grpc_is_imported_without_a_port() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_has_addresses_and_their_description(metrics: Metrics) -> None:
    made = oip(metrics)
    assert set(METHODS) <= set(made.endpoints)
    assert "/v2/models/{name}/infer" in made.document()["paths"]


def test_without_a_port_nothing_starts(metrics: Metrics) -> None:
    async def start_and_stop() -> None:
        made = oip(metrics)
        await made.start(LOCAL)
        await made.stop()

    asyncio.run(start_and_stop())


@pytest.mark.parametrize("host", [LOCAL, "::1"])
def test_with_a_port_there_is_a_server_until_it_stops(metrics: Metrics, host: str) -> None:
    port = free_port()

    async def reached() -> list[bool]:
        made = oip(metrics, str(port))
        try:
            await made.start(host)
        except SystemExit:
            pytest.skip(f"this machine has no {host}")
        answers = []
        async with grpc.aio.insecure_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") as channel:
            ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            answers.append(bool(await ask(b"")))
            await made.stop()
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await ask(b"", timeout=5)
        return answers

    assert asyncio.run(reached()) == [True]


def test_a_port_in_use_ends_the_process_with_one_sentence(metrics: Metrics) -> None:
    import socket

    async def start(port: int) -> None:
        await oip(metrics, str(port)).start(LOCAL)

    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"^gRPC: port {port} of {LOCAL} cannot be had for grpc_port; end the"):
            asyncio.run(start(port))
