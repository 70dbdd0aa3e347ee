"""What the OpenAPI document says of the protocol's addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from serving.http.body import MAX_TEXTS
from serving.http.openapi import Document
from serving.load.admission import PRIORITIES, Priority
from serving.load.budget import MAX_MS
from serving.oip.asking import HEADER_LENGTH
from serving.oip.models import Models
from serving.oip.tensors import DataType

_REF = "#/components/schemas/{model}"
# Clients of some languages can send no numbers as parameters.
NumberText = Annotated[str, Field(pattern=r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")]


class OipRequestParameters(BaseModel, extra="forbid"):
    """What a request says beside its tensors."""

    budget_ms: Annotated[float, Field(gt=0, le=MAX_MS)] | NumberText | None = Field(
        default=None, description="deadline for the whole answer"
    )
    timeout: Annotated[float, Field(gt=0, le=MAX_MS * 1e3)] | NumberText | None = Field(
        default=None, description="the same in microseconds"
    )
    priority: Priority | int | None = Field(default=None, description="high or normal; of numbers 1 is high")
    binary_data_output: bool | None = Field(default=None, description="send all outputs as bytes behind the JSON")


class OipInputParameters(BaseModel, extra="forbid"):
    """How an input is sent."""

    binary_data_size: int | None = Field(default=None, ge=0, description="its bytes behind the JSON, without `data`")
    content_type: Any = Field(default=None, description="read by other servers; it is passed over here")


class OipOutputParameters(BaseModel, extra="forbid"):
    """How an output is wanted."""

    binary_data: bool | None = Field(default=None, description="send this output as bytes behind the JSON")


class OipInput(BaseModel, extra="forbid"):
    """An input: texts, or image files in base64."""

    name: str
    shape: list[Annotated[int, Field(ge=1, le=MAX_TEXTS)]] = Field(
        min_length=1, max_length=2, description="[n] or [n, 1]"
    )
    datatype: Literal["BYTES"]
    parameters: OipInputParameters | None = None
    data: list[str | list[str]] | None = Field(default=None, max_length=MAX_TEXTS)


class OipRequestedOutput(BaseModel, extra="forbid"):
    """An output that is asked for."""

    name: str
    parameters: OipOutputParameters | None = None


class OipInferRequest(BaseModel, extra="forbid"):
    """An inference request; without `outputs` all are sent."""

    id: str | None = Field(default=None, pattern="^[!-~]{0,128}$")
    parameters: OipRequestParameters | None = None
    inputs: list[OipInput] = Field(min_length=1)
    outputs: list[OipRequestedOutput] | None = None


class OipOutput(BaseModel):
    """An output, flat in row-major order; `data` is missing where it is sent as bytes."""

    name: str
    datatype: DataType
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[str | bool | float] | None = None


class OipInferResponse(BaseModel):
    """The outputs in the order in which they were asked for."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OipOutput]


class OipTensorMetadata(BaseModel):
    """An input or output; -1 stands for any number of items."""

    name: str
    datatype: DataType
    shape: list[int]


class OipModelMetadata(BaseModel):
    """A cascade. `parameters` has its labels, the tags of its models and their digests."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[OipTensorMetadata]
    outputs: list[OipTensorMetadata]
    parameters: dict[str, str]


class OipServerMetadata(BaseModel):
    """The server, and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class OipLive(BaseModel):
    """Whether the server answers."""

    live: bool


class OipReady(BaseModel):
    """Whether the server, or the model of this name, should get requests."""

    name: str | None = None
    ready: bool


class OipError(BaseModel):
    """Every error of the protocol: a sentence with the rule, the kind of the value and the remedy."""

    error: str


_MODELS = (OipInferRequest, OipInferResponse, OipModelMetadata, OipServerMetadata, OipLive, OipReady, OipError)
_INFER_PROBLEMS = {
    "400": "The request cannot be read, or a value breaks a rule",
    "404": "There is no such model or version",
    "408": "The body did not arrive in time",
    "413": "The body has too many bytes",
    "415": "The body is compressed",
    "500": "The service failed; its log has the cause under the request id",
    "503": "Late, or too much is in flight; Retry-After says when to come back",
}


def oip_document(models: Models) -> Document:
    """Paths and schemas of the protocol, for a service with these models."""
    _, definitions = models_json_schema([(model, "validation") for model in _MODELS], ref_template=_REF)
    name = _parameter("name", "path", {"type": "string", "enum": list(models.by_name)}, required=True)
    versions = sorted({modality.version for modality in models.by_name.values()})
    version = _parameter("version", "path", {"type": "string", "enum": versions}, required=True)
    paths: dict[str, Any] = {
        "/v2": _get("server", "The server, by the Open Inference Protocol", OipServerMetadata),
        "/v2/health/live": _get("live", "Whether the server answers", OipLive),
        "/v2/health/ready": _get("ready", "Whether the server should get requests", OipReady, {"503": OipReady}),
    }
    of_model, of_version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    absent = {"404": OipError}
    for place, what, given in ((of_model, "model", [name]), (of_version, "version", [name, version])):
        paths[place] = _get(what, "The tensors of a model, and its digests", OipModelMetadata, absent, given)
        paths[f"{place}/ready"] = _get(
            f"{what}_ready", "Whether a model is ready", OipReady, {"503": OipReady, **absent}, given
        )
        paths[f"{place}/infer"] = _infer(f"{what}_infer", given)
    return {"paths": paths, "schemas": definitions["$defs"]}


def _parameter(name: str, place: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(model=model.__name__)}}


def _response(said: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": said, "content": {"application/json": _content(model)}}


def _get(
    name: str,
    summary: str,
    answer: type[BaseModel],
    others: Mapping[str, type[BaseModel]] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    said = {"404": "There is no such model or version", "503": "Not ready"}
    responses = {"200": _response("OK", answer)}
    responses |= {status: _response(said[status], model) for status, model in (others or {}).items()}
    return {"get": {**_named(name, summary), "parameters": parameters or [], "responses": responses}}


def _named(name: str, summary: str) -> dict[str, Any]:
    """What generated clients call an operation, and where they put it."""
    return {"operationId": f"oip_{name}", "tags": ["oip"], "summary": summary}


def _infer(name: str, given: list[dict[str, Any]]) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    answered = _response("OK", OipInferResponse)
    answered["content"]["application/octet-stream"] = binary
    headers = [
        _parameter("X-Budget-Ms", "header", {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_MS}),
        _parameter("X-Priority", "header", {"type": "string", "enum": list(PRIORITIES)}),
        _parameter("X-Request-Id", "header", {"type": "string"}),
        _parameter(HEADER_LENGTH, "header", {"type": "integer", "minimum": 1}),
    ]
    return {
        "post": {
            **_named(name, "Classify the items of a tensor"),
            "parameters": [*given, *headers],
            "requestBody": {
                "required": True,
                "content": {"application/json": _content(OipInferRequest), "application/octet-stream": binary},
            },
            "responses": {
                "200": answered,
                **{status: _response(said, OipError) for status, said in _INFER_PROBLEMS.items()},
            },
        }
    }
