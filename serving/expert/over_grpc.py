"""The Open Inference Protocol over gRPC, as a client. Imported only where an expert is asked so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from serving.arrays import Array, Logits
from serving.errors import MalformedError, StageDownError, StageLateError, StageRefusedError
from serving.expert.call import GRACE_S
from serving.expert.graph_form import LOGITS, Metadata, TensorForm
from serving.expert.server import DATATYPES, NotThereError
from serving.expert_tls import ExpertTls
from serving.protobuf import SERVICE, new, parsed, values_of

# By default a channel whose server has gone waits for up to two minutes before it looks again.
OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.lb_policy_name", "round_robin"),  # over all addresses of a name
]
CODE = grpc.StatusCode


class OverGrpc:
    """A `Server`: `model` at `address`, HOST:PORT, over TLS with the files `tls`.

    Its channel belongs to the event loop of the first call.
    """

    def __init__(self, address: str, model: str, tls: ExpertTls | None = None) -> None:
        self._address, self._model, self._tls = address, model, tls
        self._channel: Any = None

    async def metadata(self, version: str) -> Metadata:
        """What the server says of a version of the model, of its own choice if it is empty."""
        request = new("ModelMetadataRequest", name=self._model, version=version)
        said = parsed("ModelMetadataResponse", await self._call("ModelMetadata", request))
        return Metadata(
            versions=list(said.versions),
            platform=said.platform,
            inputs=[_form(each) for each in said.inputs],
            outputs=[_form(each) for each in said.outputs],
            parameters={name: value for name, value in values_of(said.parameters).items() if isinstance(value, str)},
        )

    async def infer(self, version: str, inputs: Mapping[str, Array], traceparent: str | None, left_ms: float) -> Logits:
        """The output logits for these inputs. The time that is left is the call's deadline."""
        tensors = [
            {"name": name, "datatype": DATATYPES[array.dtype], "shape": array.shape} for name, array in inputs.items()
        ]
        request = new(
            "ModelInferRequest",
            model_name=self._model,
            model_version=version,
            inputs=tensors,
            outputs=[{"name": LOGITS}],
            raw_input_contents=[array.tobytes() for array in inputs.values()],
        )
        limit_s = left_ms / 1e3 + GRACE_S if left_ms < math.inf else None
        metadata = (("traceparent", traceparent),) if traceparent else ()
        return read_logits(parsed("ModelInferResponse", await self._call("ModelInfer", request, limit_s, metadata)))

    def close_idle(self) -> None:
        """Leave the channel as it is: it has calls in flight, and looks for its server again by itself."""

    async def close(self) -> None:
        """End the calls in flight and close the channel; the next call opens another one."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def _call(
        self, method: str, request: Any, limit_s: float | None = None, metadata: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        if self._channel is None:
            self._channel = self._opened()
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        try:
            return bytes(await call(request.SerializeToString(), timeout=limit_s, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            raise _failure(error.code(), method) from None

    def _opened(self) -> Any:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._address, OPTIONS)
        authorities, certificates, key = self._tls.read()
        credentials = grpc.ssl_channel_credentials(authorities, key, certificates)
        return grpc.aio.secure_channel(self._address, credentials, OPTIONS)


def _failure(code: grpc.StatusCode, method: str) -> Exception:
    """What the status of a call means for a stage. The server's own text stays in its log."""
    if code is CODE.UNAVAILABLE:
        return ConnectionError("the server cannot be reached (UNAVAILABLE)")
    if code is CODE.RESOURCE_EXHAUSTED:
        return StageRefusedError("the server is overloaded (RESOURCE_EXHAUSTED)")
    if code is CODE.DEADLINE_EXCEEDED:
        return StageLateError("the server did not answer before the deadline of the call")
    if code is CODE.NOT_FOUND:
        return NotThereError(f"the server has no such model or version ({method})")
    return StageDownError(f"the server answered {method} with {code.name}; its log says why")


def read_logits(response: Any) -> Logits:
    """The output logits of a ModelInferResponse, raw or not. Raises MalformedError if it has none."""
    raw = response.raw_output_contents
    for place, output in enumerate(response.outputs):
        if output.name == LOGITS and output.datatype == "FP32":
            try:
                if raw:
                    values = np.frombuffer(raw[place], "<f4")
                else:
                    values = np.array(output.contents.fp32_contents, dtype=np.float32)
                return values.reshape(list(output.shape))
            except (ValueError, IndexError):
                raise MalformedError("reply", f"must hold {LOGITS} of its shape, got other data") from None
    raise MalformedError("reply", f"must have the output {LOGITS} as FP32, got others")


def _form(tensor: Any) -> TensorForm:
    return TensorForm(tensor.name, tensor.datatype, tuple(tensor.shape))
