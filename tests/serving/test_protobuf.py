"""The messages of gRPC: the published ones, as another client library has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from tritonclient.grpc import service_pb2 as theirs

from serving import protobuf
from serving.errors import MalformedError
from serving.protobuf import PACKAGE, POOL, SERVICE, new, parsed, values_of

FILE = POOL.FindFileByName("inference.proto")
OURS: dict[str, Descriptor] = dict(FILE.message_types_by_name)
FOLDER = Path(protobuf.__file__).parent / "oip"


def fields(message: Descriptor) -> dict[str, tuple[Any, ...]]:
    """Of each field by its name: number, type, whether there are several, and the message in it."""
    return {
        field.name: (field.number, field.type, field.is_repeated, field.message_type and field.message_type.full_name)
        for field in message.fields
    }


@pytest.mark.parametrize("name", OURS)
def test_its_fields_are_those_of_another_library(name: str) -> None:
    other = theirs.DESCRIPTOR.message_types_by_name[name]
    ours = fields(OURS[name])
    if name == "ModelMetadataResponse":
        assert ours.pop("parameters")[0] not in {field.number for field in other.fields}
    assert ours == fields(other)
    for nested in OURS[name].nested_types:
        if nested.name != "ParametersEntry" or nested.name in other.nested_types_by_name:
            assert fields(nested) == fields(other.nested_types_by_name[nested.name])


def test_its_calls_are_those_of_another_library() -> None:
    service, other = (pool.services_by_name[SERVICE.removeprefix(f"{PACKAGE}.")] for pool in (FILE, theirs.DESCRIPTOR))
    for method in service.methods:
        same = other.methods_by_name[method.name]
        assert (method.input_type.full_name, method.output_type.full_name) == (
            same.input_type.full_name,
            same.output_type.full_name,
        )
    assert len(service.methods) == 6


def test_what_is_committed_is_made_of_the_proto(tmp_path: Path) -> None:
    made = tmp_path / "inference.binpb"
    line = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(FOLDER), f"--descriptor_set_out={made}"]
    subprocess.run([*line, "inference.proto"], check=True)
    assert made.read_bytes() == (FOLDER / "inference.binpb").read_bytes()


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(MalformedError, match="must be a ModelInferRequest of protobuf"):
        parsed("ModelInferRequest", b"\xff\xff\xff")


def test_a_parameter_has_the_value_that_was_chosen() -> None:
    parameters = {
        "digest": new("InferParameter", string_param="1a"),
        "size": new("InferParameter", int64_param=3),
        "none": new("InferParameter"),
    }
    assert values_of(parameters) == {"digest": "1a", "size": 3, "none": None}
