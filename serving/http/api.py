"""The endpoints of the API: they read requests, ask the cascades and write answers.

`serving.http.guard` adds what all of them share: request ids, admission, timings and errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from serving.cascade.modality import Modality
from serving.cascade.served import Served
from serving.errors import FailedItemError, InvalidInputError
from serving.http.body import any_object, image_and_budget, no_others
from serving.http.classifying import Classifying, Given, ImageFile, failed_item
from serving.http.fast_path import Endpoint
from serving.http.feedback import FeedbackApi
from serving.http.gate import OPEN, Gate
from serving.http.guard import Enter, Guard, JsonObject, described, to_bytes
from serving.http.images import images_and_budget
from serving.http.intake import Body
from serving.http.locked import locked
from serving.http.mount import Methods
from serving.http.openapi import NOTHING_BESIDE, Document, openapi
from serving.http.scrape import Exposed, metrics_endpoint
from serving.http.stated_budget import budget_ms_of
from serving.http.stated_model import IN_QUERY, model_of
from serving.http.texts import TextForm, form_of
from serving.watch.accuracy import feedback_of
from serving.watch.answered import About, AnsweredMemory
from serving.watch.record import RequestRecord

METHODS: Methods = {
    "/classify_text": "POST",
    "/classify_texts": "POST",
    "/classify_image": "POST",
    "/classify_images": "POST",
    "/feedback": "POST",
    "/models": "GET",
    "/metrics": "GET",
    "/docs.json": "GET",
}
Keys = Callable[[TextForm], set[str]]
"""The keys that a request of a form may have."""
ONE: Keys = attrgetter("one_keys")
MANY: Keys = attrgetter("many_keys")


class ApiMetrics(Exposed, Protocol):
    """Metrics that count feedback, too."""

    def told(self, cascade: About, right: Mapping[str, bool | None], /) -> None:
        """Count what was told of an answer: for each stage whether it was right."""


def api_endpoints(
    served: Served,
    guard: Guard,
    metrics: ApiMetrics,
    classifying: Classifying,
    beside: Callable[[], Document] = lambda: NOTHING_BESIDE,
    gate: Gate = OPEN,
    memory: AnsweredMemory | None = None,
) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS, over the cascades in `served`.

    `beside` gives what the OpenAPI document says of other addresses, and `gate` what it says of keys. `memory` is what
    feedback is about.
    """
    api = Api(served, classifying, memory)
    told = FeedbackApi(memory, classifying.intake, metrics.told)
    kept: dict[str, bytes] = {}

    def document() -> bytes:
        return to_bytes(locked(openapi(served, classifying.formats, beside()), gate))

    async def docs(_request: Request) -> Response:
        versions = str(served.versions)  # it names them
        if versions not in kept:
            kept.clear()
            kept[versions] = document()
        return Response(kept[versions], media_type="application/json")

    return {
        "/classify_text": guard.limited("/classify_text", api.classify_text),
        "/classify_texts": guard.limited("/classify_texts", api.classify_texts),
        "/classify_image": guard.limited("/classify_image", api.classify_image),
        "/classify_images": guard.limited("/classify_images", api.classify_images),
        "/feedback": guard.limited("/feedback", told.feedback),
        "/models": guard.free(api.models),
        "/metrics": metrics_endpoint(metrics),
        "/docs.json": docs,
    }


class Api:
    """One handler for each address, for a `Guard` to surround."""

    def __init__(self, served: Served, classifying: Classifying, memory: AnsweredMemory | None = None) -> None:
        self._served, self._classifying, self._caches = served, classifying, classifying.equal is not None
        self._memory = memory

    async def classify_text(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        with self._classifying.intake.open(request) as arriving:
            modality, form, body = await self._asked(request, arriving, ONE)
            texts = [form.one(body)]
            record.was_read(budget_ms_of(request, body.get("budget_ms"), IN_QUERY), arriving.waited_s)
            enter()
            characters = form.characters(texts)
            (given,) = await self._classifying.texts(modality, texts, characters, record, request)
        return self._entry(modality, given, "text", record)

    async def classify_texts(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        with self._classifying.intake.open(request) as arriving:
            modality, form, body = await self._asked(request, arriving, MANY)
            good, entries = form.many(body)
            record.was_read(budget_ms_of(request, body.get("budget_ms"), IN_QUERY), arriving.waited_s)
            enter()
            if good:
                texts = list(good.values())
                characters = form.characters(texts)
                record.places = list(good)
                answers = await self._classifying.texts(modality, texts, characters, record, request)
                for place, given in zip(good, answers, strict=True):
                    entries[place] = self._entry_or_error(modality, given, f"texts[{place}]", record)
        return {"answers": entries}

    async def classify_image(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._served.find("image", model_of(request))
        with self._classifying.intake.open(request) as arriving:
            data, stated = await image_and_budget(arriving)
            arriving.keep(len(data))
            record.was_read(budget_ms_of(request, stated, IN_QUERY), arriving.waited_s)
            file = await self._classifying.header(data)
            del data  # the image holds the file, or what is needed of it
            enter()
            (given,) = await self._classifying.images(modality, [file], record, request)
        return self._entry(modality, given, "image", record)

    async def classify_images(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._served.find("image", model_of(request))
        with self._classifying.intake.open(request) as arriving:
            sent, stated = await images_and_budget(arriving)
            arriving.keep(sum(len(each) for each in sent if isinstance(each, bytes)))
            record.was_read(budget_ms_of(request, stated, IN_QUERY), arriving.waited_s)
            entries, good = await self._headers(sent)
            del sent  # the images hold the files, or what is needed of them
            enter()
            if good:
                files = list(good.values())
                answers = await self._classifying.images_apart(modality, files, record, request)
                record.places = [p for p, given in zip(good, answers, strict=True) if isinstance(given, Given)]
                for place, given in zip(good, answers, strict=True):
                    entries[place] = self._entry_or_error(modality, given, f"images[{place}]", record)
        return {"answers": entries}

    async def _headers(
        self, sent: Sequence[bytes | InvalidInputError]
    ) -> tuple[list[JsonObject], dict[int, ImageFile]]:
        """An entry for each file, with the error of one whose head breaks a rule, and the others by their places."""
        entries: list[JsonObject] = [{} for _ in sent]
        good = {}
        for place, data in enumerate(sent):
            try:
                if isinstance(data, InvalidInputError):
                    raise data
                good[place] = await self._classifying.header(data, f"images[{place}]")
            except InvalidInputError as error:
                entries[place] = {"error": described(error)}
        return entries, good

    async def models(self, _request: Request, _record: RequestRecord) -> JsonObject:
        answered = None if self._memory is None else await asyncio.to_thread(self._memory.answered)

        async def described(each: Modality) -> JsonObject:
            said = await each.describe()
            if answered is None:
                return said
            return {**said, "feedback": asdict(feedback_of(answered, each.kind, each.name, each.version))}

        firsts: JsonObject = {each.kind: await described(each) for each in self._served.defaults}
        others = [await described(each) for each in self._served if each not in self._served.defaults]
        more = {"others": others, "shadows": await self._classifying.shadows()}
        return firsts | {name: listed for name, listed in more.items() if listed}

    async def _asked(self, request: Request, arriving: Body, keys: Keys) -> tuple[Modality, TextForm, JsonObject]:
        """The cascade that a request about texts is for, the form of such requests, and the sound body."""
        modality = self._served.default("text")  # first: where no cascade is for texts, no body is read
        form = form_of(modality.pairs)
        body = await any_object(arriving, keys(form))
        if "model" in body or request.scope["query_string"]:
            modality = self._served.find("text", model_of(request, body.get("model")))
            form = form_of(modality.pairs)
        no_others(set(body), keys(form), "body", form.misplaced)
        return modality, form, body

    def _entry_or_error(
        self, modality: Modality, given: Given | InvalidInputError, field: str, record: RequestRecord
    ) -> JsonObject:
        """The answer to one item of a list, or why there is none."""
        if isinstance(given, InvalidInputError):
            return {"error": described(InvalidInputError(field, str(given).removeprefix(f"{given.field}: ")))}
        try:
            return self._entry(modality, given, field, record)
        except FailedItemError as error:
            return {"error": described(error)}

    def _entry(self, modality: Modality, given: Given, field: str, record: RequestRecord) -> JsonObject:
        """The answer to the item that the request names `field`. Raises FailedItemError if there is none."""
        stage_answer = given.answer
        answer = stage_answer.answer
        if answer is None:
            raise failed_item(field, record)
        entry: JsonObject = {
            modality.cascade.screen_head.field: answer.label,
            "confidence": answer.confidence,
            "scores": dict(zip(modality.cascade.labels, answer.scores, strict=True)),
            "stage": stage_answer.stage,
            "escalated": stage_answer.escalated,
            "degraded": stage_answer.degraded,
            "truncated": given.truncated,
            "models": {"screen": modality.screen_tag, "expert": modality.expert_tag},
        }
        if self._caches:
            entry["cached"] = stage_answer.cached is not None
        return entry
