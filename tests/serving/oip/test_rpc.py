"""Calls over gRPC against a server in this process: answers, codes, deadlines, cancelling, health and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serving.errors import SettingsError
from serving.http.body import MAX_UPLOAD_BYTES
from serving.oip.rpc import DEADLINE_SHARE, READY_INTERVAL_S, RpcServer
from serving.oip.rpc_gate import INFER
from serving.protobuf import SERVICE, new
from serving.watch.metrics import Metrics
from tests.serving.conftest import sample
from tests.serving.http.test_api import SURE, UNSURE, Spy, both
from tests.serving.model.test_image import encoded, noise
from tests.serving.oip.models import VERSION, Service, model, models
from tests.serving.oip.test_messages import parameters, request

Ask = Callable[..., Awaitable[Any]]
CODE = grpc.StatusCode


def served(metrics: Metrics, scenario: Callable[[Any, RpcServer], Awaitable[Any]], **kinds: Any) -> Any:
    """What `scenario` returns, which is given a channel to a server of these models, and the server."""
    service = kinds.pop("service", None) or Service(metrics)

    async def main() -> Any:
        there = models(**(kinds or {"text": model()}))
        server = RpcServer(there, service.guard, service.classifying, service.readiness, "127.0.0.1", 0)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(server.address) as channel, asyncio.timeout(60):
                return await scenario(channel, server)
        finally:
            await server.stop(0)

    return asyncio.run(main())


def asking(channel: Any, method: str = "ModelInfer") -> Any:
    return channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        response_deserializer=new(f"{method}Response").FromString,
    )


def once(metrics: Metrics, message: Any, method: str = "ModelInfer", **more: Any) -> Any:
    """The answer to one call, or its error."""
    kinds = {name: more.pop(name) for name in ("text", "image", "service") if name in more}

    async def scenario(channel: Any, _server: RpcServer) -> Any:
        try:
            return await asking(channel, method)(message, **more)
        except grpc.aio.AioRpcError as error:
            return error

    return served(metrics, scenario, **kinds)


@pytest.mark.parametrize("raw", [True, False])
def test_an_answer_comes_as_the_request_came(metrics: Metrics, raw: bool) -> None:
    reply = once(metrics, request([SURE.encode(), UNSURE.encode()], raw=raw, outputs=[{"name": "label"}], id="mine"))
    assert (reply.model_name, reply.model_version, reply.id) == ("text", VERSION, "mine")
    (label,) = reply.outputs
    if raw:
        assert list(reply.raw_output_contents) == [b"\1\0\0\0a\1\0\0\0a"]
    else:
        assert list(label.contents.bytes_contents) == [b"a", b"a"]


def test_an_image_comes_as_bytes(metrics: Metrics) -> None:
    message = request([encoded(noise(8, 8))], tensor={"name": "image"})
    message.model_name = "digits"
    reply = once(metrics, message, image=model("image", lambda _image: both(1.0)))
    assert list(reply.outputs[0].contents.bytes_contents) == [b"a"]


def test_the_server_and_its_models_say_what_they_are(metrics: Metrics) -> None:
    assert once(metrics, b"", "ServerLive").live
    assert once(metrics, b"", "ServerReady").ready
    assert once(metrics, b"", "ServerMetadata").name == "sieve"
    for name in ("text", "sms-risk"):
        assert once(metrics, new("ModelReadyRequest", name=name), "ModelReady").ready
        assert once(metrics, new("ModelMetadataRequest", name=name), "ModelMetadata").name == name
    other = once(metrics, new("ModelMetadataRequest", name="text", version="2"), "ModelMetadata")
    assert (other.code(), other.details()[:29]) == (CODE.NOT_FOUND, "no such version of text is se")


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (request([b" "]), CODE.INVALID_ARGUMENT, "text: must not be empty, got a string of white space"),
        (request([b"a"], raw=True, raw_input_contents=[b"x"]), CODE.INVALID_ARGUMENT, "raw_input_contents[0]: must be"),
        (b"\xff", CODE.INVALID_ARGUMENT, "message: must be a ModelInferRequest of protobuf"),
        (request([b"a"], parameters=parameters(budget_ms=-1)), CODE.INVALID_ARGUMENT, "parameters.budget_ms: must be"),
        (new("ModelInferRequest", model_name="no"), CODE.NOT_FOUND, "no model of this name is served here"),
    ],
)
def test_errors_have_codes_and_our_sentences(metrics: Metrics, message: Any, code: grpc.StatusCode, said: str) -> None:
    error = once(metrics, message)
    assert (error.code(), error.details()[: len(said)]) == (code, said)


def test_a_failure_is_internal_and_shows_no_cause(metrics: Metrics, logged: list[Any]) -> None:
    def fails(_content: Any) -> Any:
        raise ValueError("a secret")

    error = once(metrics, request([b"a"]), text=model("text", fails))
    assert (error.code(), error.details()[:19]) == (CODE.INTERNAL, "the service failed ")


def test_a_message_beyond_the_limit_is_refused(metrics: Metrics) -> None:
    assert once(metrics, request([b"x" * MAX_UPLOAD_BYTES])).code() == CODE.RESOURCE_EXHAUSTED


def test_a_full_service_says_when_to_come_back(metrics: Metrics) -> None:
    service = Service(metrics)
    admission = service.guard._admission
    admission.in_flight = admission.max_in_flight
    error = once(metrics, request([b"a"]), service=service)
    assert (error.code(), error.details()) == (
        CODE.RESOURCE_EXHAUSTED,
        "too many requests are in flight; come back after a while",
    )
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
    metrics.flush()
    assert sample("sieve_shed_total", priority="normal", reason="limit") == 1


def budgets(metrics: Metrics, *calls: dict[str, Any]) -> list[float]:
    """The budgets that the cascade sees for these calls."""
    kind, spy = model(), Spy()
    kind.cascade = spy

    async def scenario(channel: Any, _server: RpcServer) -> None:
        for call in calls:
            await asking(channel)(call.pop("message", request([b"a"])), **call)

    served(metrics, scenario, text=kind)
    return [budget.budget_ms for budget in spy.budgets]


def test_the_deadline_is_the_budget_but_for_the_way_back(metrics: Metrics) -> None:
    stated = request([b"a"], parameters=parameters(budget_ms=20.0))
    with_header = {"metadata": (("x-budget-ms", "30"),), "timeout": 5}
    got = budgets(metrics, {}, {"timeout": 0.9}, {"timeout": 30}, {"timeout": 30, "message": stated}, with_header)
    assert 400 < got[1] <= 901 * DEADLINE_SHARE, "a deadline travels as whole milliseconds, rounded up"
    assert [got[0], *got[2:]] == [50, 1000, 20, 30]


def test_ids_and_timings_come_back(metrics: Metrics) -> None:
    async def scenario(channel: Any, _server: RpcServer) -> Any:
        call = asking(channel)(request([b"a"]), metadata=(("x-request-id", "mine"),))
        return await call, dict(await call.trailing_metadata())

    reply, trailing = served(metrics, scenario)
    assert (reply.id, trailing["x-request-id"]) == ("mine", "mine")
    assert trailing["server-timing"].startswith("admission;dur=")


def test_a_client_that_cancels_is_gone(metrics: Metrics) -> None:
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def never(*_: Any) -> Any:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async def scenario(channel: Any, server: RpcServer) -> None:
        call = asking(channel)(request([UNSURE.encode()], parameters=parameters(budget_ms=1000)))
        await asked.wait()
        call.cancel()
        await given_up.wait()
        with pytest.raises(asyncio.CancelledError):
            await call
        while server._working:
            await asyncio.sleep(0.01)

    served(metrics, scenario, text=model(expert=never))
    metrics.flush()
    labels = {"endpoint": INFER, "stage": "screen", "model": "text-screen:1"}
    assert sample("sieve_requests_total", outcome="gone", **labels) == 1


def test_only_a_call_that_waits_takes_a_task(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, waited_for = [], RpcServer._waited_for
    monkeypatch.setattr(RpcServer, "_waited_for", lambda *given: waiting.append(given) or waited_for(*given))
    for text, tasks in ((SURE, 0), (UNSURE, 1)):
        once(metrics, request([text.encode()]))
        assert len(waiting) == tasks, "the expert is waited for, the screen is not"


def test_calls_beside_each_other_get_their_own_answers(metrics: Metrics) -> None:
    async def scenario(channel: Any, _server: RpcServer) -> list[str]:
        ask = asking(channel)
        replies = await asyncio.gather(
            *(ask(request([SURE.encode() if place % 2 else UNSURE.encode()], id=str(place))) for place in range(40))
        )
        return [reply.id for reply in replies if reply.outputs[5].contents.bool_contents[0]]

    assert served(metrics, scenario) == [str(place) for place in range(0, 40, 2)]


def test_health_says_when_the_process_drains(metrics: Metrics, tmp_path: Path) -> None:
    said = health_pb2.HealthCheckResponse

    async def scenario(channel: Any, _server: RpcServer) -> list[int]:
        stub = health_pb2_grpc.HealthStub(channel)
        found = [(await stub.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", SERVICE)]
        (tmp_path / "drain").touch()
        await asyncio.sleep(3 * READY_INTERVAL_S)
        found.append((await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status)
        assert not (await asking(channel, "ServerReady")(b"")).ready
        assert (await asking(channel)(request([b"a"]))).outputs, "it still answers"
        return found

    service = Service(metrics, str(tmp_path / "drain"))
    assert served(metrics, scenario, service=service) == [said.SERVING, said.SERVING, said.NOT_SERVING]


def test_a_call_in_progress_ends_before_the_server_does(metrics: Metrics) -> None:
    begun = asyncio.Event()

    async def slow(items: Any, *_: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.2)
        raise ZeroDivisionError

    async def scenario(channel: Any, server: RpcServer) -> Any:
        call = asking(channel)(request([UNSURE.encode()], parameters=parameters(budget_ms=1000)))
        await begun.wait()
        stopping = asyncio.create_task(server.stop(5))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        await stopping
        return raised.value.code()

    assert served(metrics, scenario, text=model(expert=slow)) == CODE.INTERNAL


def test_reflection_describes_the_services(metrics: Metrics) -> None:
    async def scenario(_channel: Any, server: RpcServer) -> Any:
        def look() -> Any:
            with grpc.insecure_channel(server.address) as channel:
                there = ProtoReflectionDescriptorDatabase(channel)
                files = [there.FindFileContainingSymbol(name).name for name in (SERVICE, "grpc.health.v1.Health")]
                return set(there.get_services()), files

        return await asyncio.to_thread(look)

    services, files = served(metrics, scenario)
    assert services == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert files == ["inference.proto", "grpc_health/v1/health.proto"]


def test_a_port_in_use_is_told_in_one_sentence(metrics: Metrics) -> None:
    async def scenario(_channel: Any, server: RpcServer) -> None:
        # Sockets of one user may share a port; this is what lets several processes serve.
        service = Service(metrics)
        second = RpcServer(
            models(text=model()), service.guard, service.classifying, service.readiness, "127.0.0.1",
            int(server.address.rpartition(":")[2]),
        )  # fmt: skip
        await second.start()
        await second.stop(0)
        with pytest.raises(SettingsError, match=r"^port 1 of 192\.0\.2\.1 cannot be had for grpc_port; end the"):
            RpcServer(models(text=model()), service.guard, service.classifying, service.readiness, "192.0.2.1", 1)

    served(metrics, scenario)


def test_failed_items_fail_the_call(metrics: Metrics, logged: list[Any]) -> None:
    def fails(items: Any) -> Any:
        return np.full((len(items), 2), np.nan, dtype=np.float32)

    error = once(metrics, request([b"a"]), text=model(screen=fails))
    assert (error.code(), error.details()[:13]) == (CODE.INTERNAL, "text: must be")
