"""The gate in front of calls over gRPC: keys, rights and rates as over HTTP, in the codes of gRPC.

Imported only where calls are served over gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

import grpc
from grpc.aio import ServicerContext as Call

from serving.errors import KeyMissingError, RightMissingError, SieveError, TooOftenError
from serving.http.gate import Gate
from serving.http.keys import Key, Right
from serving.protobuf import SERVICE

INFER = f"/{SERVICE}/ModelInfer"
OPEN_SERVICE = "/grpc.health.v1.Health/"
OPEN = frozenset(f"/{SERVICE}/{method}" for method in ("ServerLive", "ServerReady", "ModelReady"))
CODES: dict[type[SieveError], grpc.StatusCode] = {
    KeyMissingError: grpc.StatusCode.UNAUTHENTICATED,
    RightMissingError: grpc.StatusCode.PERMISSION_DENIED,
    TooOftenError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# Each call has a task, and with it a context, of its own.
ADMITTED: ContextVar[Key | None] = ContextVar("admitted", default=None)
"""The key of the call that is answered, None where there are no keys."""


class RpcGate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Lets calls through `gate`. Those of health need no key."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of a call, behind the gate."""
        handler, method = await continuation(details), details.method
        if handler is None or method in OPEN or method.startswith(OPEN_SERVICE):
            return handler
        right: Right | None = "classify" if method == INFER else None
        if handler.response_streaming:
            assert handler.request_streaming, "reflection, which is the only one, streams both ways"
            return self._streams(handler, right)
        return self._unary(handler, right)

    def _unary(self, handler: Any, right: Right | None) -> Any:
        async def admitted(request: Any, call: Call) -> Any:
            await self._admit(right, call)
            return await handler.unary_unary(request, call)

        return grpc.unary_unary_rpc_method_handler(admitted, handler.request_deserializer, handler.response_serializer)

    def _streams(self, handler: Any, right: Right | None) -> Any:
        async def admitted(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
            await self._admit(right, call)
            async for reply in handler.stream_stream(requests, call):
                yield reply

        return grpc.stream_stream_rpc_method_handler(
            admitted, handler.request_deserializer, handler.response_serializer
        )

    async def _admit(self, right: Right | None, call: Call) -> None:
        try:
            ADMITTED.set(self._gate.admit(right, headers_of(call), host_of(call.peer())))
        except SieveError as error:
            again = error.retry_after_s if isinstance(error, TooOftenError) else None
            later = (("grpc-retry-pushback-ms", str(again * 1000)),) if again is not None else ()
            await call.abort(CODES[type(error)], str(error), later)


def headers_of(call: Call) -> list[tuple[bytes, bytes]]:
    """The metadata of a call as headers of HTTP."""
    return [
        (name.encode(), value.encode("latin-1", "replace"))
        for name, value in call.invocation_metadata() or ()
        if isinstance(value, str)
    ]


def host_of(peer: str) -> str:
    """The host in what gRPC says of a client, as in `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
