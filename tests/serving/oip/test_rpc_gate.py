"""Keys over gRPC: the same rules as over HTTP, in gRPC's codes; and TLS of the files that HTTP has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serving.http.gate import Gate
from serving.http.server_tls import ServerTls
from serving.load.rate import RateByAddress
from serving.oip.rpc import RpcServer
from serving.oip.rpc_gate import host_of
from serving.protobuf import new
from serving.watch.metrics import Metrics
from tests.certificates import authority, demanding
from tests.serving.http.test_api import SURE
from tests.serving.http.test_gate import Behind
from tests.serving.oip.models import Service, model, models
from tests.serving.oip.test_messages import parameters, request
from tests.serving.oip.test_rpc import asking

CODE = grpc.StatusCode
TEXT = request([SURE.encode()])


def served(metrics: Metrics, gate: Gate, scenario: Any, tls: ServerTls | None = None) -> Any:
    """What `scenario` returns, which is given the address of a server behind `gate`."""
    service = Service(metrics)

    async def main() -> Any:
        parts = (service.guard, service.classifying, service.readiness)
        server = RpcServer(models(text=model()), *parts, "127.0.0.1", 0, gate=gate, tls=tls)
        await server.start()
        try:
            async with asyncio.timeout(60):
                return await scenario(server.address)
        finally:
            await server.stop(0)

    return asyncio.run(main())


async def outcome(channel: Any, message: Any, method: str = "ModelInfer", **headers: str) -> Any:
    """The code of a call's error, or OK; and its error."""
    metadata = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    try:
        await asking(channel, method)(message, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code(), error
    return CODE.OK, None


def test_a_call_needs_a_key_with_its_right(metrics: Metrics, tmp_path: Path) -> None:
    behind = Behind(tmp_path)
    shop, prometheus = behind.key["shop"], behind.key["prometheus"]

    async def play(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            calls: list[tuple[dict[str, str], grpc.StatusCode]] = [
                ({}, CODE.UNAUTHENTICATED),
                ({"x_api_key": "guess"}, CODE.UNAUTHENTICATED),
                ({"x_api_key": prometheus}, CODE.PERMISSION_DENIED),
                ({"x_api_key": shop}, CODE.OK),
                ({"authorization": f"Bearer {shop}"}, CODE.OK),
                ({"x_api_key": shop, "x_priority": "high"}, CODE.PERMISSION_DENIED),
                ({"x_api_key": behind.key["own"], "x_priority": "high"}, CODE.OK),
            ]
            for headers, code in calls:
                got, error = await outcome(channel, TEXT, **headers)
                assert got == code
                assert error is None or "guess" not in error.details()
            asks_high = request([SURE.encode()], parameters=parameters(priority="high"))
            assert (await outcome(channel, asks_high, x_api_key=shop))[0] == CODE.PERMISSION_DENIED
            for method in ("ServerLive", "ServerReady"):
                assert (await outcome(channel, b"", method))[0] == CODE.OK
            assert (await outcome(channel, new("ModelReadyRequest", name="text"), "ModelReady"))[0] == CODE.OK
            assert (await outcome(channel, b"", "ServerMetadata"))[0] == CODE.UNAUTHENTICATED
            assert (await outcome(channel, b"", "ServerMetadata", x_api_key=prometheus))[0] == CODE.OK
            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1

    served(metrics, behind.gate, play)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_what_there_is_is_told_to_those_with_a_key_alone(metrics: Metrics, tmp_path: Path, known: bool) -> None:
    behind = Behind(tmp_path)

    class Brings(grpc.StreamStreamClientInterceptor):  # type: ignore[misc]  # grpc has no types
        def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
            metadata = [("x-api-key", behind.key["prometheus"] if known else "guess")]
            return continuation(details._replace(metadata=metadata), requests)

    def services(address: str) -> Any:
        with grpc.insecure_channel(address) as channel:
            try:
                return ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, Brings())).get_services()
            except grpc.RpcError as error:
                return error.code()

    async def play(address: str) -> Any:
        return await asyncio.to_thread(services, address)

    told = served(metrics, behind.gate, play)
    assert "inference.GRPCInferenceService" in told if known else told == CODE.UNAUTHENTICATED


def test_a_call_that_comes_too_often_says_when_to_come_back(metrics: Metrics, tmp_path: Path) -> None:
    behind = Behind(tmp_path, per_s=1)

    async def play(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            assert (await outcome(channel, TEXT, x_api_key=behind.key["shop"]))[0] == CODE.OK
            code, error = await outcome(channel, TEXT, x_api_key=behind.key["shop"])
            assert code == CODE.RESOURCE_EXHAUSTED
            assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"

    served(metrics, behind.gate, play)


def test_an_address_that_calls_too_often_is_refused_without_keys_too(metrics: Metrics) -> None:
    async def play(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            codes = [(await outcome(channel, TEXT))[0] for _ in range(2)]
            assert codes == [CODE.OK, CODE.RESOURCE_EXHAUSTED]

    served(metrics, Gate(addresses=RateByAddress(1)), play)


def test_over_tls_a_client_may_have_to_show_a_certificate(metrics: Metrics, tmp_path: Path) -> None:
    made = authority(tmp_path)
    ours, theirs = made.sign("server", "IP:127.0.0.1"), made.sign("client", "DNS:client")
    tls, root = demanding(ours, made), made.file.read_bytes()

    async def play(address: str) -> None:
        shown = grpc.ssl_channel_credentials(root, theirs.key.read_bytes(), theirs.file.read_bytes())
        for credentials, code in ((shown, CODE.OK), (grpc.ssl_channel_credentials(root), CODE.UNAVAILABLE)):
            async with grpc.aio.secure_channel(address, credentials) as channel:
                assert (await outcome(channel, TEXT))[0] == code
        async with grpc.aio.insecure_channel(address) as channel:
            assert (await outcome(channel, TEXT))[0] == CODE.UNAVAILABLE

    served(metrics, Gate(), play, tls)


@pytest.mark.parametrize(
    ("peer", "host"), [("ipv4:127.0.0.1:5000", "127.0.0.1"), ("ipv6:%5B::1%5D:5000", "::1"), ("unix:", "")]
)
def test_the_host_of_a_client_is_read(peer: str, host: str) -> None:
    assert host_of(peer) == host
