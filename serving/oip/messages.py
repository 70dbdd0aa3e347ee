"""The messages of the protocol over gRPC, and what they say in the words of `serving.oip.asking`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from numpy import ndarray

from serving.cascade.modality import Modality
from serving.errors import InvalidInputError, MalformedError
from serving.oip.asking import (
    INPUT_PARAMETERS,
    OUTPUT_PARAMETERS,
    PARAMETERS,
    InferRequest,
    no_other_keys,
    only_once,
    require_bytes,
)
from serving.oip.inference import InferResponse
from serving.oip.models import metadata_of
from serving.oip.tensors import Tensor, count_of, flat, unpacked
from serving.protobuf import new, values_of

CONTENTS = {"BYTES": "bytes_contents", "BOOL": "bool_contents", "FP32": "fp32_contents"}


def asked_by(message: Any, deadline_ms: float | None) -> InferRequest:
    """What a ModelInferRequest asks, in a call with this deadline. Raises InvalidInputError if it breaks a rule.

    The outputs are sent as the inputs came: as bytes or in the fields of their types.
    """
    raw: Sequence[bytes] = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise MalformedError(
            "raw_input_contents",
            f"must be one for each of {len(message.inputs)} inputs, got {len(raw)}; send all inputs so, or none",
        )
    inputs: dict[str, Sequence[object]] = {}
    for place, tensor in enumerate(message.inputs):
        field = f"inputs[{place}]"
        name = only_once(tensor.name, inputs, field)
        require_bytes(tensor.datatype, field)
        no_other_keys(values_of(tensor.parameters), INPUT_PARAMETERS, f"{field}.parameters")
        count = count_of(list(tensor.shape), f"{field}.shape")
        if raw:
            if tensor.HasField("contents"):
                raise InvalidInputError(
                    f"{field}.contents", "must be left out beside raw_input_contents, got both; send one of them"
                )
            inputs[name] = unpacked(memoryview(raw[place]), count, f"raw_input_contents[{place}]")
        else:
            inputs[name] = flat(list(tensor.contents.bytes_contents), count, f"{field}.contents.bytes_contents")
    outputs: dict[str, bool] = {}
    for place, output in enumerate(message.outputs):
        no_other_keys(values_of(output.parameters), OUTPUT_PARAMETERS, f"outputs[{place}].parameters")
        outputs[only_once(output.name, outputs, f"outputs[{place}]")] = bool(raw)
    return InferRequest(
        id=message.id,
        parameters=no_other_keys(values_of(message.parameters), PARAMETERS, "parameters"),
        inputs=inputs,
        outputs=outputs or None,
        binary=bool(raw),
        deadline_ms=deadline_ms,
    )


def answer(response: InferResponse, request_id: str) -> bytes:
    """The ModelInferResponse, serialized."""
    raw = any(response.binary)
    if not raw:
        outputs = [{**_head(tensor), "contents": _contents(tensor)} for tensor in response.outputs]
        whole = new(
            "ModelInferResponse",
            model_name=response.model_name,
            model_version=response.model_version,
            id=request_id,
            outputs=outputs,
        )
        return bytes(whole.SerializeToString())
    heads = tuple((tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in response.outputs)
    values = new("ModelInferResponse", id=request_id, raw_output_contents=[each.packed() for each in response.outputs])
    # The bytes of two messages behind each other are those of one with the fields of both.
    return _heads(response.model_name, response.model_version, heads) + bytes(values.SerializeToString())


@lru_cache(maxsize=256)
def _heads(model_name: str, model_version: str, heads: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
    """What answers with the same outputs, of as many items, have in common."""
    outputs = [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in heads]
    message = new("ModelInferResponse", model_name=model_name, model_version=model_version, outputs=outputs)
    return bytes(message.SerializeToString())


def metadata(name: str, modality: Modality) -> Any:
    """The ModelMetadataResponse of a cascade that was asked for by this name."""
    said = metadata_of(name, modality)
    parameters = {key: new("InferParameter", string_param=value) for key, value in said.pop("parameters").items()}
    return new("ModelMetadataResponse", **said, parameters=parameters)


def _head(tensor: Tensor) -> Mapping[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _contents(tensor: Tensor) -> Mapping[str, object]:
    values = tensor.values.ravel().tolist() if isinstance(tensor.values, ndarray) else tensor.values
    return {CONTENTS[tensor.datatype]: values}
