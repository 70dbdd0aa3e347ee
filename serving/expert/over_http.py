"""The Open Inference Protocol over REST, as a client: tensors as bytes where the server takes them so, else in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving.arrays import Array, Logits
from serving.errors import MalformedError, StageDownError, StageRefusedError
from serving.expert.connection import Connections, Reply
from serving.expert.graph_form import LOGITS, Metadata, TensorForm
from serving.expert.server import DATATYPES, NotThereError
from serving.expert_tls import SYSTEM, ExpertTls

HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY = "binary_tensor_data"
"""The extension for tensors as bytes, in the list of a server's metadata."""
OK, NOT_FOUND, TOO_MANY, UNAVAILABLE = 200, 404, 429, 503
LENGTH = HEADER_LENGTH.lower().encode()


class OverHttp:
    """A `Server`: `model` at http://HOST:PORT or https://HOST:PORT, with the files `tls` that `Connections` takes."""

    def __init__(self, url: str, model: str, tls: ExpertTls = SYSTEM) -> None:
        self._connections = Connections(url, tls)
        self._model, self._binary = f"/v2/models/{model}", False

    async def metadata(self, version: str) -> Metadata:
        """What the server says of a version of the model, of its own choice if it is empty."""
        try:
            self._binary = BINARY in _list(await self._get("/v2"), "extensions")
        except NotThereError:  # a proxy may lead to the models alone
            self._binary = False
        return read_metadata(await self._get(self._at(version)))

    async def infer(self, version: str, inputs: Mapping[str, Array], traceparent: str | None, left_ms: float) -> Logits:
        """The output logits for these inputs."""
        head, data = self._message(inputs, left_ms)
        lines = [f"Content-Type: application/{'octet-stream' if data else 'json'}"]
        if data:
            lines.append(f"{HEADER_LENGTH}: {len(head)}")
        if traceparent:
            lines.append(f"traceparent: {traceparent}")
        return read_logits(await self._ask("POST", f"{self._at(version)}/infer", lines, head + data))

    def close_idle(self) -> None:
        """Close the connections that are idle."""
        self._connections.close_idle()

    async def close(self) -> None:
        """Close the connections that are idle."""
        self._connections.close_idle()

    def _message(self, inputs: Mapping[str, Array], left_ms: float) -> tuple[bytes, bytes]:
        """The JSON of a request, and the tensors behind it; none where they are in the JSON."""
        tensors: list[dict[str, Any]] = []
        tails: list[bytes] = []
        for name, array in inputs.items():
            tensor: dict[str, Any] = {"name": name, "datatype": DATATYPES[array.dtype], "shape": array.shape}
            if self._binary:
                tails.append(array.tobytes())
                tensor["parameters"] = {"binary_data_size": len(tails[-1])}
            else:
                tensor["data"] = np.ascontiguousarray(array).ravel()
            tensors.append(tensor)
        output = {"name": LOGITS, "parameters": {"binary_data": True}} if self._binary else {"name": LOGITS}
        request: dict[str, Any] = {"inputs": tensors, "outputs": [output]}
        if left_ms < math.inf:  # in microseconds, as Triton has it; others pass it over
            request["parameters"] = {"timeout": max(1, round(left_ms * 1e3))}
        return orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY), b"".join(tails)

    def _at(self, version: str) -> str:
        return f"{self._model}/versions/{version}" if version else self._model

    async def _get(self, path: str) -> dict[str, Any]:
        reply = await self._ask("GET", path, [], b"")
        return _object(reply.body)

    async def _ask(self, method: str, path: str, lines: list[str], body: bytes) -> Reply:
        every = [f"{method} {path} HTTP/1.1", f"Host: {self._connections.host}", *lines, f"Content-Length: {len(body)}"]
        connection = await self._connections.take()
        try:
            reply = await connection.ask("\r\n".join([*every, "", ""]).encode() + body)
        except BaseException:  # also when it is cancelled: so the server sees that nobody waits any more
            connection.close()
            raise
        self._connections.give_back(connection)
        if reply.status in (UNAVAILABLE, TOO_MANY):
            raise StageRefusedError(f"the server is overloaded, or loads the model (status {reply.status})")
        if reply.status == NOT_FOUND:
            raise NotThereError(f"the server has no {path}")
        if reply.status != OK:
            raise StageDownError(f"the server answered {path} with status {reply.status}; its log says why")
        return reply


def read_metadata(said: Mapping[str, Any]) -> Metadata:
    """The metadata of a model in JSON. Raises MalformedError for anything else."""
    told = said.get("parameters") or said.get("properties") or {}
    if not isinstance(told, dict):
        raise MalformedError("metadata.parameters", "must be an object, got something else")
    return Metadata(
        versions=[str(version) for version in _list(said, "versions")],
        platform=str(said.get("platform") or ""),
        inputs=_forms(said, "inputs"),
        outputs=_forms(said, "outputs"),
        parameters={name: value for name, value in told.items() if isinstance(value, str)},
    )


def read_logits(reply: Reply) -> Logits:
    """The output logits of a reply, as bytes or in JSON. Raises MalformedError if it has none."""
    length = reply.headers.get(LENGTH)
    try:
        at = len(reply.body) if length is None else int(length)
        for output in _object(reply.body[:at])["outputs"]:
            size = (output.get("parameters") or {}).get("binary_data_size")
            if output["name"] == LOGITS and output["datatype"] == "FP32":
                if size is None:
                    values = np.array(output["data"], dtype=np.float32)
                else:
                    values = np.frombuffer(reply.body, "<f4", size // 4, at)
                return values.reshape([int(size) for size in output["shape"]])
            at += size or 0
    except (ValueError, TypeError, KeyError, AttributeError):
        raise MalformedError("reply", "must be an inference response, got something else") from None
    raise MalformedError("reply", f"must have the output {LOGITS} as FP32, got others")


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise MalformedError("reply", "must be an object of JSON, got something else; ask a server of the protocol")
    return said


def _list(said: Mapping[str, Any], name: str) -> list[Any]:
    """A list that may be left out or null."""
    found = said.get(name) or []
    if not isinstance(found, list):
        raise MalformedError(f"metadata.{name}", "must be a list, got something else")
    return found


def _forms(said: Mapping[str, Any], name: str) -> list[TensorForm]:
    try:
        return [
            TensorForm(str(each["name"]), str(each["datatype"]), tuple(int(size) for size in each["shape"]))
            for each in _list(said, name)
        ]
    except (TypeError, KeyError, ValueError):
        raise MalformedError(f"metadata.{name}", "must name tensors with datatype and shape, got others") from None
