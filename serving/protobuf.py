"""The messages of the Open Inference Protocol over gRPC, for the server and for the client of an expert.

The classes come from inference.proto through a pool of their own. In protobuf's default pool they could not stand
beside those of a client library for the same protocol.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from serving.errors import MalformedError

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
POOL = DescriptorPool()
for _file in FileDescriptorSet.FromString((Path(__file__).parent / "oip" / "inference.binpb").read_bytes()).file:
    POOL.AddSerializedFile(_file.SerializeToString())


def new(kind: str, /, **fields: Any) -> Any:
    """A message of the protocol."""
    return _class(kind)(**fields)


@cache
def _class(kind: str) -> Any:
    return GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{kind}"))


def parsed(name: str, data: bytes) -> Any:
    """The message that was sent as `data`. Raises MalformedError if it is none."""
    message = new(name)
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise MalformedError(
            "message", f"must be a {name} of protobuf, got other bytes; let a gRPC client make it"
        ) from None
    return message


def values_of(parameters: Any) -> dict[str, object]:
    """The values of a map of InferParameter; None where one has none."""
    # A message's map takes three times as long to give its items.
    return {name: _value(parameters[name]) for name in parameters}


def _value(parameter: Any) -> object:
    chosen = parameter.WhichOneof("parameter_choice")
    return None if chosen is None else getattr(parameter, chosen)
