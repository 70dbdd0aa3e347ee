"""What sends samples: connections of HTTP, and for calls over gRPC a channel to each server that they name."""

from __future__ import annotations

import asyncio
from typing import Any

from loadtest.traffic.connections import Connections, Response
from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.sample import Sample

STATUSES = {"OK": 200, "INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "INTERNAL": 500, "RESOURCE_EXHAUSTED": 503}
"""The status over HTTP that means the same as a code of gRPC; of any other code it is 500."""
NOT_REACHED = "UNAVAILABLE"
MOST_BYTES = 32 * 1024 * 1024


class Sending:
    """The connections of one generator to one `url`, and its channels, over TLS where the URL is. For `async with`."""

    def __init__(self, url: str, credentials: Credentials = NO_CREDENTIALS) -> None:
        self._http, self._credentials = Connections(url, credentials), credentials
        self._tls = url.startswith("https:")
        self._calls: dict[str, Calls] = {}

    async def __aenter__(self) -> Sending:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._http.close()
        for calls in self._calls.values():
            await calls.close()

    async def send(self, sample: Sample, timeout_s: float) -> Response:
        """The response. Raises TimeoutError after `timeout_s`, and OSError where no response can come."""
        if sample.grpc:
            if sample.grpc not in self._calls:
                self._calls[sample.grpc] = Calls(sample.grpc, self._credentials, tls=self._tls)
            return await self._calls[sample.grpc].infer(sample.path, sample.body, timeout_s)
        return await self._http.post(
            sample.path, sample.content_type, sample.body, timeout_s=timeout_s, json_bytes=sample.json_bytes
        )


class Calls:
    """Calls over gRPC to one server, as HOST:PORT. All of them share a connection, as gRPC's clients do."""

    def __init__(self, server: str, credentials: Credentials = NO_CREDENTIALS, *, tls: bool = False) -> None:
        # Who sends no such call has nothing of gRPC: importing it takes time and memory.
        import grpc

        self._error = grpc.aio.AioRpcError
        options = [("grpc.max_receive_message_length", MOST_BYTES)]
        self._channel = (
            grpc.aio.secure_channel(server, credentials.channel(), options)
            if tls
            else grpc.aio.insecure_channel(server, options)
        )
        self._metadata = credentials.metadata()
        self._methods: dict[str, Any] = {}

    async def infer(self, method: str, message: bytes, timeout_s: float) -> Response:
        """The response to a serialized message. A call has no deadline of its own: that would be its budget, too."""
        if method not in self._methods:
            self._methods[method] = self._channel.unary_unary(method)
        call = self._methods[method](message, metadata=self._metadata)
        try:
            async with asyncio.timeout(timeout_s):
                body: bytes = await call
                return Response(STATUSES["OK"], _timing(await call.trailing_metadata()), body)
        except self._error as error:
            code = error.code().name
            if code == NOT_REACHED:
                raise ConnectionError("no server of gRPC takes calls there") from None
            return Response(STATUSES.get(code, STATUSES["INTERNAL"]), _timing(error.trailing_metadata()), b"")

    async def close(self) -> None:
        """Close the channel for good."""
        await self._channel.close()


def _timing(metadata: Any) -> str:
    return next((value for name, value in metadata or () if name == "server-timing"), "")
