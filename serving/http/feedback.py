"""POST /feedback: the right label of an answer, told later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from serving.errors import InvalidInputError, NotServedError, kind_of
from serving.http.body import MAX_TEXTS, json_object, required
from serving.http.guard import REQUEST_ID, Enter, JsonObject
from serving.http.intake import Intake
from serving.watch.answered import About, AnsweredMemory
from serving.watch.record import RequestRecord

FIELDS = {"request_id", "item", "label", "labels"}
MAX_BYTES = 65_536


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(pattern=f"^{REQUEST_ID.pattern}$", description="of the answer")
    item: int = Field(default=0, ge=0, lt=MAX_TEXTS, description="its place in the list of the request, if it had one")


class TellLabel(_Told):
    """The right label of an answer."""

    label: str


class TellLabels(_Told):
    """The right labels of an item that may have several, or none."""

    labels: list[str]


class StagesRight(BaseModel):
    """Whether each stage had the label; null where it was not asked, or that is not known."""

    cascade: bool
    screen: bool | None
    expert: bool | None


class LabelTold(BaseModel):
    """What the answer was worth."""

    right: StagesRight
    again: bool = Field(description="the same was told before, and counts once")
    timings_ms: dict[str, float]
    request_id: str = Field(description="of this request, not of the answer")


Count = Callable[[About, Mapping[str, bool | None]], None]
"""Counts what was told of an answer: for each stage whether it was right."""


class FeedbackApi:
    """The handler. `memory` is what was answered, None where nothing is remembered."""

    def __init__(self, memory: AnsweredMemory | None, intake: Intake, count: Count) -> None:
        self._memory, self._intake, self._count = memory, intake, count

    async def feedback(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        """Find the answer, and say which stages were right."""
        if self._memory is None:
            raise NotServedError(
                "this service remembers no answers, so it takes no feedback; start it with the setting feedback_memory"
            )
        with self._intake.open(request) as arriving:
            body = await json_object(arriving, FIELDS, MAX_BYTES)
            record.timings.end("read")
            request_id, item, label = _request_id(body), _item(body), _label(body)
            enter()
            told = await asyncio.to_thread(self._memory.tell, request_id, item, label)
        if not told.again:
            self._count(told.about, told.right)
        return {"right": told.right, "again": told.again}


def _request_id(body: Mapping[str, object]) -> str:
    stated = required(body, "request_id")
    if not isinstance(stated, str) or not REQUEST_ID.fullmatch(stated):
        raise InvalidInputError(
            "request_id", f"must be the request_id of an answer, got {_other(stated)}; send it as the answer has it"
        )
    return stated


def _item(body: Mapping[str, object]) -> int:
    stated = body.get("item", 0)
    if not isinstance(stated, int) or isinstance(stated, bool) or not 0 <= stated < MAX_TEXTS:
        raise InvalidInputError(
            "item",
            f"must be the place in the list of the request, from 0 to {MAX_TEXTS - 1}, got {_other(stated)}; leave it "
            "out where there was no list",
        )
    return stated


def _label(body: Mapping[str, object]) -> str | tuple[str, ...]:
    if ("label" in body) == ("labels" in body):
        raise InvalidInputError("label", "must be there, or else labels, got both or neither; send one of them")
    if "label" in body:
        label = body["label"]
        if not isinstance(label, str):
            raise InvalidInputError("label", f"must be a string, got {kind_of(label)}; send the right label")
        return label
    labels = body["labels"]
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise InvalidInputError("labels", "must be a list of strings, got something else; send the right labels")
    return tuple(labels)


def _other(value: object) -> str:
    return f"another {kind_of(value).split()[-1]}" if isinstance(value, str | int) else kind_of(value)
