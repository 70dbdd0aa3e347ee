"""The bodies of requests and answers, as the OpenAPI document describes them. The limits are those that are checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from serving.audit.auditor import Watched
from serving.cascade.deferral import LabelPromise, OperatingPoint, Promise
from serving.cascade.drift import Drift
from serving.http.body import MAX_TEXTS
from serving.http.images import MAX_IMAGES
from serving.load.breaker import State
from serving.load.budget import DEFAULT_MS, MAX_MS
from serving.model.image_header import MAX_BYTES
from serving.model.text import MAX_CHARACTERS
from serving.shadow.counts import Described
from serving.watch.accuracy import Feedback

# At least one character that is no white space, for Python as for JavaScript, which differ in what white space is.
VISIBLE = r"[^\s\u001c-\u001f\u0085]"
TEXT, PAIR = "Green Fork has booked my 1534 euros again", "I was charged twice"
SHOWN_SCORES = {"charged-twice": 0.97, "refund-missing": 0.03}
SHOWN_BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR4nGPowATDVgAAK6k/wabKP3IAAAAASUVORK5CYII="
BINARY: dict[str, Any] = {"type": "string", "format": "binary", "minLength": 1, "maxLength": MAX_BYTES}
"""An image file. A schema cannot say what makes its bytes an image."""


class Budget(RootModel[float]):
    """The milliseconds from the request's arrival until the answer must be out."""

    root: float = Field(gt=0, le=MAX_MS, examples=[DEFAULT_MS])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextCascade(RootModel[str]):
    """The name of a cascade for texts."""


class ImageCascade(RootModel[str]):
    """The name of a cascade for images."""


class _Request(_Strict):
    budget_ms: Budget | None = Field(default=None, description=f"deadline for the whole answer; else {DEFAULT_MS:g}")


class _TextRequest(_Request):
    model: TextCascade | None = Field(
        default=None, description="the cascade that answers, in the query the same if it is there too; else the first"
    )


def _text(example: str) -> Any:
    """One text of a request."""
    return Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        pattern=VISIBLE,
        description="not white space alone",
        examples=[example],
    )


def _texts(example: str) -> Any:
    """The texts of a request for several answers."""
    return Field(min_length=1, max_length=MAX_TEXTS, examples=[[example]])


class ClassifyText(_TextRequest):
    """One text."""

    text: str = _text(TEXT)


class ClassifyTexts(_TextRequest):
    __doc__ = f"""Up to {MAX_TEXTS} texts. An invalid text gets an error in its place; the others are answered."""

    texts: list[str] = _texts(TEXT)


class ClassifyTextPair(_TextRequest):
    __doc__ = f"""A pair of texts, of {MAX_CHARACTERS:,} characters together, which a schema cannot say."""

    text: str = _text(TEXT)
    text_pair: str = _text(PAIR)


class ClassifyTextPairs(_TextRequest):
    __doc__ = f"""Up to {MAX_TEXTS} pairs: each text of `texts` with that of `text_pairs` in the same place.

    Both lists must be equally long, which a schema cannot say. An invalid pair gets an error in its place; the others
    are answered.
    """

    texts: list[str] = _texts(TEXT)
    text_pairs: list[str] = _texts(PAIR)


class ClassifyImage(_Request):
    """An image file in base64. A schema cannot say what makes its bytes an image."""

    image: str = Field(
        min_length=1,
        max_length=(MAX_BYTES + 2) // 3 * 4,
        description="base64, or a data URL of it",
        json_schema_extra={"contentEncoding": "base64"},
        examples=[SHOWN_BASE64],
    )


class ImageForm(_Strict):
    """A form with one file."""

    image: bytes = Field(json_schema_extra=BINARY)
    budget_ms: Budget = Field(
        default=Budget(DEFAULT_MS), description=f"deadline for the whole answer; else {DEFAULT_MS:g}"
    )


class ClassifyImages(_Request):
    __doc__ = f"""Up to {MAX_IMAGES} image files in base64, or data URLs of it, of {MAX_BYTES:,} bytes together.

    A file that is no image gets an error in its place; the others are answered.
    """

    images: list[str] = Field(min_length=1, max_length=MAX_IMAGES, examples=[[SHOWN_BASE64]])


class ImagesForm(_Strict):
    __doc__ = f"""A form with up to {MAX_IMAGES} files, each with the name `images`.

    They have {MAX_BYTES:,} bytes together. A file that is no image gets an error in its place; the others are answered.
    """

    images: list[Annotated[bytes, Field(json_schema_extra={"type": "string", "format": "binary"})]] = Field(
        min_length=1, max_length=MAX_IMAGES
    )
    budget_ms: Budget = Field(
        default=Budget(DEFAULT_MS), description=f"deadline for the whole answer; else {DEFAULT_MS:g}"
    )


class ErrorDetail(BaseModel):
    """The field, and a sentence with the rule, the kind of the value received and the remedy."""

    field: str | None
    message: str
    reason: Literal["overloaded"] | None = Field(
        default=None, description="overloaded, where the request was refused because of load; else left out"
    )


class _Item(BaseModel):
    confidence: float = Field(ge=0, le=1)
    scores: dict[str, float] = Field(examples=[SHOWN_SCORES])
    stage: Literal["screen", "expert"] = Field(description="who gave the answer")
    escalated: bool = Field(description="whether a call with the item was sent to the expert")
    degraded: Literal["deadline", "shed", "down"] | None = Field(
        description="why the screen's answer stands although the expert was wanted"
    )
    truncated: bool = Field(description="whether a part of the text was not read, as it is too long for the models")
    cached: bool = Field(
        default=False,
        description="whether the answer is that to an equal item; left out unless the setting cache_mb keeps answers",
    )
    models: dict[str, str] = Field(examples=[{"screen": "demo-text-screen:4zm4k", "expert": "demo-text-expert:4zghw"}])


class Classification(_Item):
    """The cascade's answer for one item."""

    label: str = Field(examples=["charged-twice"])


class LabelSet(_Item):
    """The answer for one item of a cascade that gives each item all labels that fit."""

    labels: list[str] = Field(description="every label whose score is high enough, in a fixed order; may be empty")


class _Answer(BaseModel):
    timings_ms: dict[str, float] = Field(examples=[{"wait": 0.3, "read": 0.2, "screen": 1.6, "total": 2.1}])
    request_id: str = Field(examples=["610beff09e30c87f2f0d2632bfe91c8d"])


class ClassificationAnswer(Classification, _Answer):
    """The answer to a request with one item, with the milliseconds of each part."""


class LabelSetAnswer(LabelSet, _Answer):
    """The answer to a request with one item, where the cascade gives label sets."""


class FailedItem(BaseModel):
    """An entry in the place of an invalid text or image."""

    error: ErrorDetail


class ClassificationAnswers(_Answer):
    """One entry for each text or image, in order."""

    answers: list[Classification | LabelSet | FailedItem]


class Problem(BaseModel):
    """The body of every error."""

    error: ErrorDetail
    request_id: str


class StageModel(BaseModel):
    """A model of a cascade, and what runs of it."""

    tag: str
    digest: str
    labels: list[str]
    least_scores: dict[str, float] = Field(
        default_factory=dict, description="the score from which on each label is given, where an item may have several"
    )
    quality: dict[str, Any]
    data: str
    execution_provider: dict[str, str] = Field(description="asked, got and variant, or why that is not known")


class _Stated(BaseModel):
    """The promise, and the same in one sentence."""

    statement: str


def _with(name: str, base: type[BaseModel], parts: type[BaseModel], *without: str) -> Any:
    """`base`, and all fields of `parts` but those `without`."""
    fields: dict[str, Any] = {
        field: (info.annotation, info) for field, info in parts.model_fields.items() if field not in without
    }
    return create_model(name, __base__=base, __doc__=base.__doc__, **fields)


StatedPromise = _with("StatedPromise", _Stated, Promise)
StatedLabelPromise = _with("StatedLabelPromise", _Stated, LabelPromise)


class _Applies(BaseModel):
    """The operating point, and whether its promise applies to what runs."""

    tag: str
    applies: bool
    why_not: list[str]
    promise: StatedPromise  # type: ignore[valid-type]  # a variable to mypy
    label_promises: list[StatedLabelPromise] = Field(  # type: ignore[valid-type]  # a variable to mypy
        default_factory=list, description="left out where there are none"
    )


ServedPoint = _with(
    "ServedPoint", _Applies, OperatingPoint, "promise", "label_promises", "reference", "certified_thresholds"
)


class CascadeModels(BaseModel):
    """One cascade: its models, its operating point, its drift, and the circuit breaker before the expert."""

    name: str
    kind: Literal["text", "image"] = Field(description="of its input")
    pairs: bool = Field(description="whether an item is a pair of texts")
    screen: StageModel
    expert: StageModel
    operating_point: ServedPoint  # type: ignore[valid-type]  # a variable to mypy
    drift: Drift
    audit: Watched | None = Field(description="what audits say; null where there are none")
    feedback: Feedback | None = Field(default=None, description="left out where no answers are remembered")
    breaker: State


class Models(BaseModel):
    """The first cascade for each kind of input, and the others."""

    text: CascadeModels | None = Field(default=None, description="left out where no cascade for texts is served")
    image: CascadeModels | None = Field(default=None, description="left out where no cascade for images is served")
    others: list[CascadeModels] | None = Field(default=None, description="left out where there are none")
    shadows: list[Described] | None = Field(default=None, description="left out where there are none")
    request_id: str
