"""The protocol over gRPC: a server in the API's process and event loop, with health checks and reflection.

A call becomes a request as those of HTTP are: its metadata are the headers, its message is the body, and a client that
cancels has hung up. So all that follows is the same code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc.aio import ServicerContext as Call
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from starlette.requests import Request
from starlette.types import Message

from serving.errors import NotServedError, SettingsError, SieveError
from serving.http.body import MAX_UPLOAD_BYTES
from serving.http.classifying import Classifying
from serving.http.fast_path import QuickRequest
from serving.http.gate import OPEN, Gate
from serving.http.guard import RETRY_AFTER_S, Enter, Guard, JsonObject
from serving.http.intake import ARRIVING_AT_ONCE
from serving.http.keys import SCOPE_KEY
from serving.http.readiness import Readiness
from serving.http.server_tls import ServerTls
from serving.http.started import Started
from serving.load.budget import MAX_MS
from serving.oip.inference import InferResponse, inference_of
from serving.oip.messages import answer, asked_by, metadata
from serving.oip.models import EXTENSIONS, SERVER, VERSION, Models
from serving.oip.rpc_gate import ADMITTED, INFER, RpcGate, headers_of, host_of
from serving.protobuf import POOL, SERVICE, new, parsed
from serving.watch.record import RequestRecord

# The rest of a call's time is for the way back: an answer at the deadline itself would come too late.
DEADLINE_SHARE = 0.95
READY_INTERVAL_S = 0.2
HEALTH_NAMES = ("", SERVICE)
COPIES = 2
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

# BentoML shows what its own loggers say at start-up, and of others only warnings.
logger = logging.getLogger("bentoml.sieve")


@dataclass(frozen=True, slots=True)
class RpcReply:
    """What a call gets: `data`, or with another status than 200 the sentence of an error."""

    status_code: int
    data: bytes
    error: str
    trailing: tuple[tuple[str, str], ...]


class Written:
    """Answers and errors as calls get them."""

    def answer(self, body: InferResponse, record: RequestRecord) -> RpcReply:
        """A ModelInferResponse."""
        data = answer(body, record.request_id)
        record.timings.end("encode")
        return RpcReply(200, data, "", _trailing(record))

    def error(self, error: JsonObject, status: int, record: RequestRecord) -> RpcReply:
        """The sentence of an error, and where the service is full, when a client may try again."""
        later = (("grpc-retry-pushback-ms", str(RETRY_AFTER_S * 1000)),) if status == 503 else ()
        return RpcReply(status, b"", str(error["message"]), (*_trailing(record), *later))


def _trailing(record: RequestRecord) -> tuple[tuple[str, str], ...]:
    return ("x-request-id", record.request_id), ("server-timing", record.timings.header())


class Arriving:
    """The body of a call, for ASGI: it is there, and then nothing comes until the client has `gone`."""

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data
        self.gone = asyncio.Event()

    async def __call__(self) -> Message:
        data, self._data = self._data, None
        if data is not None:
            return {"type": "http.request", "body": data, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


class RpcServer:
    """Serves the protocol's calls behind `gate` on `port` of `host`, over TLS with `tls`; port 0 is a free one."""

    def __init__(
        self,
        models: Models,
        guard: Guard,
        classifying: Classifying,
        readiness: Readiness,
        host: str,
        port: int,
        *,
        gate: Gate = OPEN,
        tls: ServerTls | None = None,
    ) -> None:
        self._models, self._classifying, self._readiness = models, classifying, readiness
        self._priority = guard.priority
        self._guarded = guard.limited_as(INFER, self._infer, Written())
        self._working: set[asyncio.Task[RpcReply]] = set()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[RpcGate(gate)] if gate.stands else (),
            options=[("grpc.max_receive_message_length", MAX_UPLOAD_BYTES)],
            maximum_concurrent_rpcs=guard.max_in_flight + ARRIVING_AT_ONCE,
        )
        self._server.add_generic_rpc_handlers([self._handlers()])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        _reflect(self._server)
        try:
            self.address = f"{host}:{_listen(self._server, f'{host}:{port}', tls)}"
        except RuntimeError:
            raise SettingsError(
                f"port {port} of {host} cannot be had for grpc_port; end the process that listens there, or choose "
                "another one"
            ) from None

    async def start(self) -> None:
        """Take calls from now on. Health checks tell whether the process is ready."""
        await self._tell_health()
        await self._server.start()
        logger.info("gRPC, the Open Inference Protocol, on %s", self.address)
        self._watching = asyncio.create_task(self._watch())

    async def stop(self, grace_s: float) -> None:
        """Send clients away, and end when the calls in progress have ended, after `grace_s` seconds at the latest."""
        self._watching.cancel()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        if self._working:
            await asyncio.wait(self._working, timeout=grace_s)

    def _handlers(self) -> Any:
        def unary(call: Callable[[bytes, Call], Awaitable[bytes]]) -> Any:
            # Messages are parsed and serialized by ourselves: bytes that are none get an error that says so.
            return grpc.unary_unary_rpc_method_handler(call)

        methods = {
            "ServerLive": unary(self._live),
            "ServerReady": unary(self._ready),
            "ModelReady": unary(self._model_ready),
            "ServerMetadata": unary(self._server_metadata),
            "ModelMetadata": unary(self._metadata),
            "ModelInfer": unary(self._call),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _call(self, data: bytes, call: Call) -> bytes:
        arriving = Arriving(data)
        # A task for each call costs two turns of the event loop, and most calls wait for nothing.
        started = Started(self._guarded(_request(call, arriving)))
        reply = started.done
        if reply is None:
            reply = await self._waited_for(started, arriving)
        if reply.status_code != 200:
            await call.abort(CODES[reply.status_code], reply.error, reply.trailing)
        call.set_trailing_metadata(reply.trailing)
        return reply.data

    async def _waited_for(self, started: Started[RpcReply], arriving: Arriving) -> RpcReply:
        working = asyncio.create_task(started.rest())
        self._working.add(working)
        working.add_done_callback(self._working.discard)
        try:
            return await asyncio.shield(working)
        finally:
            # gRPC cancels the call whose client has gone. The work ends as it does for HTTP, and is reported.
            arriving.gone.set()

    async def _infer(self, request: Request, record: RequestRecord, enter: Enter) -> InferResponse:
        with self._classifying.intake.open(request) as body:
            message = parsed("ModelInferRequest", await body.whole(MAX_UPLOAD_BYTES, "message", COPIES))
            modality = self._models.find(message.model_name, message.model_version)
            asked = asked_by(message, request.scope["deadline_ms"])
            inference = inference_of(modality, self._classifying, self._priority)
            return await inference.answer(message.model_name, asked, record, request, enter)

    async def _live(self, _data: bytes, _call: Call) -> bytes:
        return _bytes(new("ServerLiveResponse", live=True))

    async def _ready(self, _data: bytes, _call: Call) -> bytes:
        return _bytes(new("ServerReadyResponse", ready=self._is_ready))

    async def _model_ready(self, data: bytes, call: Call) -> bytes:
        await self._found("ModelReadyRequest", data, call)
        return _bytes(new("ModelReadyResponse", ready=self._is_ready))

    async def _server_metadata(self, _data: bytes, _call: Call) -> bytes:
        return _bytes(new("ServerMetadataResponse", name=SERVER, version=VERSION, extensions=EXTENSIONS))

    async def _metadata(self, data: bytes, call: Call) -> bytes:
        return _bytes(metadata(*await self._found("ModelMetadataRequest", data, call)))

    async def _found(self, kind: str, data: bytes, call: Call) -> tuple[str, Any]:
        try:
            message = parsed(kind, data)
            return message.name, self._models.find(message.name, message.version)
        except NotServedError as error:
            await call.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except SieveError as error:
            await call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise AssertionError("abort raises")

    @property
    def _is_ready(self) -> bool:
        return not self._readiness.reason_against()

    async def _tell_health(self) -> None:
        said = health_pb2.HealthCheckResponse
        for name in HEALTH_NAMES:
            await self._health.set(name, said.SERVING if self._is_ready else said.NOT_SERVING)

    async def _watch(self) -> None:
        was_ready = self._is_ready
        while True:
            await asyncio.sleep(READY_INTERVAL_S)
            if self._is_ready != was_ready:
                was_ready = not was_ready
                await self._tell_health()


def _request(call: Call, arriving: Arriving) -> Request:
    """The call as a request of HTTP."""
    left_s = call.time_remaining()
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": INFER,
        "query_string": b"",
        "headers": headers_of(call),
        "client": (host_of(call.peer()), 0),
        # A call without a deadline has the budget that it states, as over HTTP.
        "deadline_ms": None if left_s is None else min(MAX_MS, max(1e-3, left_s * 1e3 * DEADLINE_SHARE)),
    }
    key = ADMITTED.get()
    if key is not None:
        scope[SCOPE_KEY] = key
    return QuickRequest(scope, arriving)


def _listen(server: Any, address: str, tls: ServerTls | None) -> int:
    """Have the server listen at an address, and return its port."""
    if tls is None:
        return int(server.add_insecure_port(address))
    pairs = [(tls.key, tls.certificates)]
    return int(server.add_secure_port(address, grpc.ssl_server_credentials(pairs, tls.authorities, tls.demanded)))


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _reflect(server: Any) -> None:
    """Let clients ask which services and messages there are."""
    for module in (health_pb2, reflection_pb2):
        POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, POOL)
