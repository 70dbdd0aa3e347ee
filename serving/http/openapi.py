"""The OpenAPI document of the API, as /docs.json gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from serving.load.admission import PRIORITIES
from serving.model.formats import ImageFormats
from serving.model.image_header import DEFAULT_FORMATS

_REF = "#/components/schemas/{model}"
Document = Mapping[str, Mapping[str, Any]]
"""A part of an OpenAPI document: `paths` and `schemas`."""
NOTHING_BESIDE: Document = {"paths": {}, "schemas": {}}


class ClassifyText(BaseModel):
    """One text."""

    text: str = Field(min_length=1, max_length=20_000)
    budget_ms: float | None = Field(default=None, gt=0, description="deadline for the whole answer; default 50")


class ClassifyTexts(BaseModel):
    """Up to 64 texts. An invalid text gets an error in its place; the others are answered."""

    texts: list[str] = Field(min_length=1, max_length=64)
    budget_ms: float | None = Field(default=None, gt=0)


class ClassifyTextPair(BaseModel):
    """A pair of texts, of 20,000 characters together."""

    text: str = Field(min_length=1, max_length=20_000)
    text_pair: str = Field(min_length=1, max_length=20_000)
    budget_ms: float | None = Field(default=None, gt=0, description="deadline for the whole answer; default 50")


class ClassifyTextPairs(BaseModel):
    """Up to 64 pairs: each text of `texts` with that of `text_pairs` in the same place.

    An invalid pair gets an error in its place; the others are answered.
    """

    texts: list[str] = Field(min_length=1, max_length=64)
    text_pairs: list[str] = Field(min_length=1, max_length=64)
    budget_ms: float | None = Field(default=None, gt=0)


class ErrorDetail(BaseModel):
    """The field, and a sentence with the rule, the kind of the value received and the remedy."""

    field: str | None
    message: str
    reason: str | None = Field(default=None, description="overloaded, where the request was refused because of load")


class _Item(BaseModel):
    confidence: float = Field(ge=0, le=1)
    scores: dict[str, float]
    stage: str = Field(description="screen or expert: who gave the answer")
    escalated: bool = Field(description="whether a call with the item was sent to the expert")
    degraded: str | None = Field(description="why the screen's answer stands although the expert was wanted")
    truncated: bool = Field(description="whether a part of the text was not read, as it is too long for the models")
    models: dict[str, str]


class Classification(_Item):
    """The cascade's answer for one item."""

    label: str


class LabelSet(_Item):
    """The answer for one item of a cascade that gives each item all labels that fit."""

    labels: list[str] = Field(description="every label whose score is high enough, in a fixed order; may be empty")


class _Request(BaseModel):
    timings_ms: dict[str, float]
    request_id: str


class ClassificationAnswer(Classification, _Request):
    """The answer to a request with one item, with the milliseconds of each part."""


class LabelSetAnswer(LabelSet, _Request):
    """The answer to a request with one item, where the cascade gives label sets."""


class FailedItem(BaseModel):
    """An entry in the place of an invalid text."""

    error: ErrorDetail


class ClassificationAnswers(_Request):
    """One entry for each text, in order."""

    answers: list[Classification | LabelSet | FailedItem]


class Problem(BaseModel):
    """The body of every error."""

    error: ErrorDetail
    request_id: str


_PROBLEMS = {
    "400": "The request cannot be read",
    "404": "The service was started without this kind of cascade",
    "408": "The body did not arrive in time",
    "413": "The body has too many bytes",
    "415": "The body is of a content type or an encoding that is not read",
    "422": "A value breaks a rule: which, why, and what to do",
    "500": "The service failed; its log has the cause under the request id",
    "503": "Late, or too much is in flight; Retry-After says when to come back",
}
_ANSWERS = (ClassificationAnswer, LabelSetAnswer, ClassificationAnswers, Problem)


def openapi(
    formats: ImageFormats = DEFAULT_FORMATS, *, pairs: bool = False, beside: Document = NOTHING_BESIDE
) -> dict[str, Any]:
    """The document: the endpoints with their request and response schemas, OpenAPI 3.1.

    `pairs`: the cascade for texts is one for pairs of texts. `beside` is what other protocols add.
    """
    one, many, what = (ClassifyTextPair, ClassifyTextPairs, "pair") if pairs else (ClassifyText, ClassifyTexts, "text")
    models: tuple[type[BaseModel], ...] = (one, many, *_ANSWERS)
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    picture = {"schema": {"type": "string", "format": "binary"}}
    form: dict[str, Any] = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "string", "format": "binary"}, "budget_ms": {"type": "number"}},
    }
    in_base64 = {"type": "string", "format": "byte", "description": "base64, or a data URL of it"}
    in_json = {**form, "properties": {**form["properties"], "image": in_base64}}
    image_body = {
        "multipart/form-data": {"schema": form},
        "image/*": picture,
        "application/octet-stream": picture,
        "application/json": {"schema": in_json},
    }
    answer = (ClassificationAnswer, LabelSetAnswer)
    paths = {
        "/classify_text": _post(_content(one), answer, f"Classify one {what}"),
        "/classify_texts": _post(_content(many), (ClassificationAnswers,), f"Classify up to 64 {what}s"),
        "/classify_image": _post(image_body, answer, f"Classify one {formats.said} image"),
        "/models": {"get": {"summary": "The models that answer, and how", "responses": {"200": {"description": "OK"}}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sieve", "version": "1", "description": "A screen answers, an expert is asked when unsure."},
        "servers": [{"url": "."}],
        "paths": {**paths, **beside["paths"]},
        "components": {"schemas": {**definitions["$defs"], **beside["schemas"]}},
    }


def _content(*models: type[BaseModel]) -> dict[str, Any]:
    """A body that is one of these."""
    schemas = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": schema}


def _post(body: dict[str, Any], answers: Sequence[type[BaseModel]], summary: str) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "parameters": [
                _parameter("budget_ms", "query", {"type": "number"}),
                _parameter("X-Budget-Ms", "header", {"type": "number"}),
                _parameter("X-Priority", "header", {"type": "string", "enum": list(PRIORITIES)}),
                _parameter("X-Request-Id", "header", {"type": "string"}),
            ],
            "requestBody": {"required": True, "content": body},
            "responses": {
                "200": {"description": "OK", "content": _content(*answers)},
                **{status: {"description": said, "content": _content(Problem)} for status, said in _PROBLEMS.items()},
            },
        }
    }
