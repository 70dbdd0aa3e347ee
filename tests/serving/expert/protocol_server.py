"""A server of the Open Inference Protocol in this process, over REST and gRPC, that runs a graph for real."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadtest.traffic.process import free_port
from serving.expert.graph_form import inputs_of, output_of, version_of
from serving.expert.over_http import BINARY, HEADER_LENGTH
from serving.expert.server import DATATYPES
from serving.model.artifact import Artifact
from serving.model.session import open_graph
from serving.protobuf import SERVICE, new, parsed

MODEL = "an-expert"
TYPES = {name: dtype for dtype, name in DATATYPES.items()}
FOUND = {200: grpc.StatusCode.OK, 404: grpc.StatusCode.NOT_FOUND, 503: grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass
class OtherModel:
    """The model on the server, and how it behaves. `ran`: the rows of each request; `told`: what came beside them.

    With `binary` None the server says nothing of itself.
    """

    artifact: Artifact
    versions: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    binary: bool | None = True
    status: int = 200
    factor: float = 1.0
    wait_s: float = 0.0
    ran: list[int] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    gone: int = 0
    looked_at: int = 0

    def __post_init__(self) -> None:
        (name,) = self.artifact.manifest.variants
        self._run, _ = open_graph(self.artifact.variant_path(name), "CPUExecutionProvider", 1, "onnxruntime")
        self.versions = self.versions or [version_of(self.artifact.digest, name)]

    def metadata(self) -> dict[str, Any]:
        def form(each: Any) -> dict[str, Any]:
            return {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}

        self.looked_at += 1
        said = {
            "name": MODEL,
            "versions": self.versions,
            "platform": "a-runtime",
            "inputs": [form(each) for each in inputs_of(self.artifact.manifest)],
            "outputs": [form(output_of(self.artifact.manifest))],
        }
        return {**said, "parameters": self.parameters, **self.changed}

    def has(self, version: str) -> bool:
        return not version or version in self.versions

    async def run(self, inputs: Mapping[str, Any], **told: Any) -> Any:
        self.ran.append(len(next(iter(inputs.values()))))
        self.told.append(told)
        try:
            await asyncio.sleep(self.wait_s)
        except asyncio.CancelledError:
            self.gone += 1
            raise
        return np.asarray(self._run(inputs) * self.factor, dtype=np.float32)


class OverRest:
    """The addresses that a client of the protocol asks."""

    def __init__(self, model: OtherModel) -> None:
        self._model = model
        at = f"/v2/models/{MODEL}"
        self.app = Starlette(
            routes=[
                Route("/v2", self._server),
                *(Route(path, self._metadata) for path in (at, f"{at}/versions/{{version}}")),
                *(Route(f"{path}/infer", self._infer, methods=["POST"]) for path in (at, f"{at}/versions/{{version}}")),
            ]
        )

    async def _server(self, _request: Request) -> Response:
        if self._model.binary is None:
            return _json({"error": "not found"}, 404)
        return _json({"name": "other", "version": "1", "extensions": [BINARY] if self._model.binary else []})

    async def _metadata(self, request: Request) -> Response:
        if not self._model.has(request.path_params.get("version", "")):
            return _json({"error": "no such version"}, 404)
        return _json(self._model.metadata())

    async def _infer(self, request: Request) -> Response:
        if not self._model.has(request.path_params.get("version", "")):
            return _json({"error": "no such version"}, 404)
        if self._model.status != 200:
            return _json({"error": "not now"}, self._model.status)
        body = await request.body()
        length = request.headers.get(HEADER_LENGTH)
        at = len(body) if length is None else int(length)
        asked = orjson.loads(body[:at])
        inputs = {}
        for each in asked["inputs"]:
            size = each.get("parameters", {}).get("binary_data_size")
            dtype = TYPES[each["datatype"]]
            data = np.array(each["data"], dtype) if size is None else np.frombuffer(body[at : at + size], dtype)
            inputs[each["name"]] = data.reshape(each["shape"])
            at += size or 0
        work = asyncio.ensure_future(
            self._model.run(inputs, traceparent=request.headers.get("traceparent"), **asked.get("parameters", {}))
        )
        logits = await _unless_gone(request, work)
        output: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": logits.shape}
        if not asked["outputs"][0].get("parameters", {}).get("binary_data"):
            return _json({"outputs": [{**output, "data": logits.ravel()}]})
        head = orjson.dumps({"outputs": [{**output, "parameters": {"binary_data_size": logits.nbytes}}]})
        return Response(head + logits.tobytes(), headers={HEADER_LENGTH: str(len(head))})


async def _unless_gone(request: Request, work: asyncio.Future[Any]) -> Any:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        work.cancel()

    watching = asyncio.ensure_future(gone())
    try:
        return await work
    finally:
        watching.cancel()


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


@asynccontextmanager
async def over_rest(model: OtherModel, port: int) -> AsyncIterator[None]:
    """Serve `model` over HTTP on `port`, until the block ends."""
    config = uvicorn.Config(OverRest(model).app, log_level="critical", host="127.0.0.1", port=port)
    config.timeout_graceful_shutdown = 0
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def over_rpc(model: OtherModel, port: int) -> AsyncIterator[None]:
    """Serve `model` over gRPC on `port`, until the block ends."""

    async def metadata(data: bytes, context: Any) -> bytes:
        if not model.has(parsed("ModelMetadataRequest", data).version):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        said = model.metadata()
        parameters = {name: new("InferParameter", string_param=value) for name, value in said.pop("parameters").items()}
        return bytes(new("ModelMetadataResponse", **said, parameters=parameters).SerializeToString())

    async def infer(data: bytes, context: Any) -> bytes:
        asked = parsed("ModelInferRequest", data)
        if not model.has(asked.model_version):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        if model.status != 200:
            await context.abort(FOUND.get(model.status, grpc.StatusCode.INTERNAL), "not now")
        inputs = {
            each.name: np.frombuffer(raw, TYPES[each.datatype]).reshape(list(each.shape))
            for each, raw in zip(asked.inputs, asked.raw_input_contents, strict=True)
        }
        traceparent = dict(context.invocation_metadata()).get("traceparent")
        left_s = context.time_remaining()
        told = {} if left_s is None or math.isinf(left_s) else {"timeout": round(left_s * 1e6)}
        logits = await model.run(inputs, traceparent=traceparent, **told)
        output: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": logits.shape}
        if not model.binary:
            output["contents"] = {"fp32_contents": logits.ravel().tolist()}
            return bytes(new("ModelInferResponse", outputs=[output]).SerializeToString())
        message = new("ModelInferResponse", outputs=[output], raw_output_contents=[logits.tobytes()])
        return bytes(message.SerializeToString())

    server = grpc.aio.server()
    methods = {"ModelMetadata": metadata, "ModelInfer": infer}
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


SERVERS = {"http": over_rest, "grpc": over_rpc}


@asynccontextmanager
async def served(model: OtherModel, scheme: str, port: int | None = None) -> AsyncIterator[str]:
    """Serve `model`, over `http` or `grpc`; the URL for an expert that is there."""
    port = port or free_port()
    async with SERVERS[scheme](model, port):
        yield f"oip+{scheme}://127.0.0.1:{port}/{MODEL}"
