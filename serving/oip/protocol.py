"""The protocol as a service has it: its addresses over REST, and a gRPC server where one is wanted."""

from __future__ import annotations

from typing import Any

from serving.cascade.served import Served
from serving.ending import in_one_sentence
from serving.http.classifying import Classifying
from serving.http.fast_path import Endpoint
from serving.http.gate import OPEN, Gate
from serving.http.guard import Guard
from serving.http.openapi import Document
from serving.http.readiness import Readiness
from serving.http.server_tls import server_tls
from serving.oip.models import Models
from serving.oip.openapi import oip_document
from serving.oip.rest import METHODS as METHODS
from serving.oip.rest import oip_endpoints

HOST_VARIABLE = "SIEVE_HOST"
"""Tells the workers the host of `bentoml serve`, which gives them a socket and no address."""
LOCAL = "127.0.0.1"
# A call has its answer within its budget, or the screen's; what takes longer is heavy work that goes on alone.
GRACE_S = 2.0


class Oip:
    """The Open Inference Protocol over the cascades that are `served`.

    With a `grpc_port` the process also serves it over gRPC, behind the same `gate`, and over TLS where HTTP is. Nothing
    of gRPC is imported otherwise: that takes memory and start-up time.
    """

    def __init__(
        self,
        served: Served,
        guard: Guard,
        classifying: Classifying,
        readiness: Readiness,
        grpc_port: str = "",
        gate: Gate = OPEN,
    ) -> None:
        models = Models(served)
        self.endpoints: dict[str, Endpoint] = oip_endpoints(models, guard, classifying, readiness)
        self._models = models
        self._grpc_port, self._gate, self._parts = grpc_port, gate, (models, guard, classifying, readiness)
        self._rpc: Any = None

    def document(self) -> Document:
        """What the OpenAPI document says of the protocol."""
        return oip_document(self._models)

    async def start(self, host: str | None) -> None:
        """Take calls over gRPC on this host, on this machine alone without one.

        Several processes may: the kernel spreads connections over them.
        """
        if not self._grpc_port:
            return
        from serving.oip.rpc import RpcServer

        host = host or LOCAL
        with in_one_sentence("gRPC"):
            at = f"[{host}]" if ":" in host else host
            self._rpc = RpcServer(*self._parts, at, int(self._grpc_port), gate=self._gate, tls=server_tls())
        await self._rpc.start()

    async def stop(self) -> None:
        """Send clients of gRPC away, and wait for the calls in progress."""
        if self._rpc is not None:
            await self._rpc.stop(GRACE_S)
