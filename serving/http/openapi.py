"""The OpenAPI document of the API, as /docs.json gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from serving.cascade.served import Served
from serving.http.body import MAX_TEXTS
from serving.http.feedback import LabelTold, TellLabel, TellLabels
from serving.http.guard import REQUEST_ID, RETRY_AFTER_S
from serving.http.images import MAX_IMAGES
from serving.http.intake import READ_LIMIT_S
from serving.http.schemas import (
    BINARY,
    Budget,
    ClassificationAnswer,
    ClassificationAnswers,
    ClassifyImage,
    ClassifyImages,
    ClassifyText,
    ClassifyTextPair,
    ClassifyTextPairs,
    ClassifyTexts,
    ImageCascade,
    ImageForm,
    ImagesForm,
    LabelSetAnswer,
    Models,
    Problem,
    TextCascade,
)
from serving.load.admission import PRIORITIES
from serving.model.formats import ImageFormats
from serving.model.image_header import DEFAULT_FORMATS, MAX_ASPECT, MAX_PIXELS

Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
Document = Mapping[str, Mapping[str, Any]]
"""A part of an OpenAPI document: some of PARTS."""
PARTS = ("paths", "schemas", "securitySchemes")
NOTHING_BESIDE: Document = {}
NOTHING_SERVED = Served()
Bodies = tuple[type[BaseModel], ...]
_NAMES: dict[str, type[BaseModel]] = {"text": TextCascade, "image": ImageCascade}
_ANSWERS: Bodies = (
    ClassificationAnswer,
    LabelSetAnswer,
    ClassificationAnswers,
    Problem,
    Models,
    Budget,
    *_NAMES.values(),
)
_OF_FEEDBACK: Bodies = (TellLabel, TellLabels, LabelTold)
_PROBLEMS = {
    "400": "The request cannot be read",
    "404": "There is no such cascade here",
    "408": f"The head or the body did not arrive within {READ_LIMIT_S:g} seconds",
    "413": "The body has too many bytes",
    "415": "The body is of a content type or an encoding that is not read",
    "422": "A value breaks a rule: which, why, and what to do",
    "431": "The head has too many headers or bytes",
    "500": "The service failed; its log has the cause under the request id",
    "503": "Late, or too much is in flight; Retry-After says when to come back",
}
_IMAGES = (
    "The bytes must be one still {formats} image, of at most {megapixels} megapixels, and at most {aspect} times as "
    "long as wide. No schema can say so: bytes that are valid here and no such image get 422."
)
_IMAGES_APART = (
    "Each file must be one still {formats} image, of at most {megapixels} megapixels, and at most {aspect} times as "
    "long as wide. One that is not gets an error in its place."
)
_PLAIN: Json = {"text/plain": {"schema": {"type": "string"}}}


class _NoDefaults(GenerateJsonSchema):
    """Leaves defaults out: generators make clients send them, a budget in the query and in a header too."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def openapi(
    served: Served = NOTHING_SERVED, formats: ImageFormats = DEFAULT_FORMATS, beside: Document = NOTHING_BESIDE
) -> Json:
    """The document: the endpoints with their request and response schemas, OpenAPI 3.1.

    It names the cascades that are `served`. `beside` is what other protocols add.
    """
    ones, manys, what = _text_requests(served)
    schemas = _schemas(served, *ones, *manys)
    picture = {"schema": BINARY}
    image = {
        **_content(ImageForm, kind="multipart/form-data"),
        "image/*": picture,
        "application/octet-stream": picture,
        **_content(ClassifyImage),
    }
    limits = {"formats": formats.said, "megapixels": MAX_PIXELS // 1_000_000, "aspect": MAX_ASPECT}
    rules, rules_of_many = _IMAGES.format(**limits), _IMAGES_APART.format(**limits)
    answer = _content(ClassificationAnswer, LabelSetAnswer)
    paths = {
        "/classify_text": _post("classify_text", f"Classify one {what}", TextCascade, _content(*ones), answer),
        "/classify_texts": _post(
            "classify_texts",
            f"Classify up to {MAX_TEXTS} {what}s",
            TextCascade,
            _content(*manys),
            _content(ClassificationAnswers),
        ),
        "/classify_image": _post(
            "classify_image", f"Classify one {formats.said} image", ImageCascade, image, answer, rules
        ),
        "/classify_images": _post(
            "classify_images",
            f"Classify up to {MAX_IMAGES} {formats.said} images",
            ImageCascade,
            {**_content(ImagesForm, kind="multipart/form-data"), **_content(ClassifyImages)},
            _content(ClassificationAnswers),
            rules_of_many,
        ),
        "/feedback": _feedback(),
        "/models": _get(
            "models", "The models that answer, and how", _content(Models), {"500": _problem(_PROBLEMS["500"])}
        ),
        "/metrics": _get("metrics", "Metrics for Prometheus", _PLAIN),
        "/docs.json": _get("docs", "This document", {"application/json": {"schema": {"type": "object"}}}),
        "/readyz": _get(
            "readyz",
            "Whether the service should get requests",
            _PLAIN,
            {"503": {"description": "Not now, and why", "content": _PLAIN}},
        ),
        "/livez": _get("livez", "Whether the service runs", _PLAIN),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sieve", "version": "1", "description": "A screen answers, an expert is asked when unsure."},
        "servers": [{"url": "."}],
        "paths": {**paths, **beside.get("paths", {})},
        "components": {
            "schemas": {**schemas, **beside.get("schemas", {})},
            "headers": _HEADERS,
            "securitySchemes": beside.get("securitySchemes", {}),
        },
    }


def together(*parts: Document) -> Document:
    """Several parts of a document as one."""
    return {key: {name: said for part in parts for name, said in part.get(key, {}).items()} for key in PARTS}


def _text_requests(served: Served) -> tuple[Bodies, Bodies, str]:
    """The bodies of requests for one answer and for several, and what they are about."""
    forms = {each.pairs for each in served if each.kind == "text"}
    if forms == {True}:
        return (ClassifyTextPair,), (ClassifyTextPairs,), "pair"
    if forms == {True, False}:
        return (ClassifyText, ClassifyTextPair), (ClassifyTexts, ClassifyTextPairs), "text or pair"
    return (ClassifyText,), (ClassifyTexts,), "text"


def _schemas(served: Served, *requests: type[BaseModel]) -> Json:
    models: Bodies = (*requests, ClassifyImage, ImageForm, ClassifyImages, ImagesForm, *_ANSWERS, *_OF_FEEDBACK)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF, schema_generator=_NoDefaults
    )
    schemas: Json = definitions["$defs"]
    for kind, model in _NAMES.items():
        if names := served.names(kind):
            schemas[model.__name__]["enum"] = names
    return schemas


def _content(*models: type[BaseModel], kind: str = "application/json") -> Json:
    """A body that is one of these."""
    schemas = [_schema(model) for model in models]
    return {kind: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}


def _schema(model: type[BaseModel]) -> Json:
    return {"$ref": _REF.format(model=model.__name__)}


def _header(schema: Json, said: str) -> Json:
    return {"description": said, "schema": schema}


_REQUEST_ID = {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"}
_HEADERS = {
    "X-Request-Id": _header(_REQUEST_ID, "that of the request, or a new one"),
    "Server-Timing": _header({"type": "string"}, "the milliseconds of each part"),
    "Retry-After": _header({"type": "integer", "const": RETRY_AFTER_S}, "seconds"),
}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem(said: str, *more: str) -> Json:
    headers = ("X-Request-Id", "Server-Timing", *more)
    return {"description": said, "headers": _headers(*headers), "content": _content(Problem)}


def _problems(statuses: Mapping[str, str]) -> Json:
    return {status: _problem(said, *(("Retry-After",) if status == "503" else ())) for status, said in statuses.items()}


def _answered(answer: Json) -> Json:
    return {"description": "The answer", "headers": _headers("X-Request-Id", "Server-Timing"), "content": answer}


def _parameter(name: str, place: str, schema: Json, said: str) -> Json:
    return {"name": name, "in": place, "required": False, "description": said, "schema": schema}


_PARAMETERS = [
    _parameter("budget_ms", "query", _schema(Budget), "the smallest of the budgets that a request states applies"),
    _parameter("X-Budget-Ms", "header", _schema(Budget), "the same"),
    _parameter(
        "X-Priority",
        "header",
        {"type": "string", "enum": list(PRIORITIES)},
        "requests of high priority are refused last",
    ),
    _parameter(
        "X-Request-Id",
        "header",
        {"type": "string"},
        "up to 128 visible ASCII characters; comes back in the answer, the log and the trace",
    ),
    _parameter("traceparent", "header", {"type": "string"}, "continues the caller's trace (W3C Trace Context)"),
]
_BUDGETS = ("budget_ms", "x-budget-ms")


def _post(name: str, summary: str, of: type[BaseModel], body: Json, answer: Json, said: str = "") -> Json:
    model = _parameter("model", "query", _schema(of), "the cascade that answers; without it the first one")
    described = {"description": said} if said else {}
    return {
        "post": {
            "operationId": name,
            "tags": ["classify"],
            "summary": summary,
            **described,
            "parameters": [model, *_PARAMETERS],
            "requestBody": {"required": True, "content": body},
            "responses": {"200": _answered(answer), **_problems(_PROBLEMS)},
        }
    }


def _feedback() -> Json:
    statuses = {**_PROBLEMS, "404": "The answer is not remembered", "409": "Another label was told for it before"}
    return {
        "post": {
            "operationId": "feedback",
            "tags": ["feedback"],
            "summary": "Tell the right label of an answer",
            "parameters": [each for each in _PARAMETERS if each["name"].lower() not in _BUDGETS],
            "requestBody": {"required": True, "content": _content(TellLabel, TellLabels)},
            "responses": {"200": _answered(_content(LabelTold)), **_problems(statuses)},
        }
    }


def _get(name: str, summary: str, answer: Json, others: Mapping[str, Json] | None = None) -> Json:
    responses = {"200": {"description": "OK", "content": answer}, **(others or {})}
    return {"get": {"operationId": name, "tags": ["look"], "summary": summary, "responses": responses}}
