"""The endpoints of the API: they read requests, ask the cascades and write answers.

`serving.http.guard` adds what all of them share: request ids, admission, timings and errors.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from serving.cascade.modality import Modality
from serving.errors import FailedItemError, NotServedError
from serving.http.body import image_and_budget, json_object
from serving.http.classifying import Classifying, Given, failed_item
from serving.http.fast_path import Endpoint
from serving.http.guard import Enter, Guard, JsonObject, described, to_bytes
from serving.http.mount import Methods
from serving.http.openapi import NOTHING_BESIDE, Document, openapi
from serving.http.scrape import Exposed, metrics_endpoint
from serving.http.stated_budget import budget_ms_of
from serving.http.texts import SingleTexts, TextForm, TextPairs
from serving.watch.record import RequestRecord

METHODS: Methods = {
    "/classify_text": "POST",
    "/classify_texts": "POST",
    "/classify_image": "POST",
    "/models": "GET",
    "/metrics": "GET",
    "/docs.json": "GET",
}


def api_endpoints(
    modalities: Mapping[str, Modality],
    guard: Guard,
    metrics: Exposed,
    classifying: Classifying,
    beside: Document = NOTHING_BESIDE,
) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS, over the cascades in `modalities`, keyed by `text` and `image`.

    `beside` is what the OpenAPI document says of other protocols.
    """
    api = Api(modalities, classifying)

    described_once = to_bytes(openapi(classifying.formats, pairs=for_pairs(modalities), beside=beside))

    async def docs(_request: Request) -> Response:
        return Response(described_once, media_type="application/json")

    return {
        "/classify_text": guard.limited("/classify_text", api.classify_text),
        "/classify_texts": guard.limited("/classify_texts", api.classify_texts),
        "/classify_image": guard.limited("/classify_image", api.classify_image),
        "/models": guard.free(api.models),
        "/metrics": metrics_endpoint(metrics),
        "/docs.json": docs,
    }


def for_pairs(modalities: Mapping[str, Modality]) -> bool:
    """Whether the cascade for texts is one for pairs of texts."""
    return "text" in modalities and modalities["text"].pairs


class Api:
    """One handler for each address, for a `Guard` to surround."""

    def __init__(self, modalities: Mapping[str, Modality], classifying: Classifying) -> None:
        self._modalities, self._classifying = modalities, classifying
        self._form: TextForm = TextPairs() if for_pairs(modalities) else SingleTexts()

    async def classify_text(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("text")
        with self._classifying.intake.open(request) as arriving:
            body = await json_object(arriving, self._form.one_keys, misplaced=self._form.misplaced)
            texts = [self._form.one(body)]
            record.was_read(budget_ms_of(request, body.get("budget_ms")), arriving.waited_s)
            enter()
            characters = self._form.characters(texts)
            (given,) = await self._classifying.texts(modality, texts, characters, record, request)
        return _entry(modality, given, "text", record)

    async def classify_texts(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("text")
        with self._classifying.intake.open(request) as arriving:
            body = await json_object(arriving, self._form.many_keys, misplaced=self._form.misplaced)
            good, entries = self._form.many(body)
            record.was_read(budget_ms_of(request, body.get("budget_ms")), arriving.waited_s)
            enter()
            if good:
                texts = list(good.values())
                characters = self._form.characters(texts)
                answers = await self._classifying.texts(modality, texts, characters, record, request)
                for place, given in zip(good, answers, strict=True):
                    try:
                        entries[place] = _entry(modality, given, f"texts[{place}]", record)
                    except FailedItemError as error:
                        entries[place] = {"error": described(error)}
        return {"answers": entries}

    async def classify_image(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("image")
        with self._classifying.intake.open(request) as arriving:
            data, stated = await image_and_budget(arriving)
            file_bytes = len(data)
            arriving.keep(file_bytes)
            record.was_read(budget_ms_of(request, stated), arriving.waited_s)
            image = await self._classifying.header(data)
            del data  # the image holds the file, or what is needed of it
            enter()
            (given,) = await self._classifying.images(modality, [image], [file_bytes], record, request)
        return _entry(modality, given, "image", record)

    async def models(self, _request: Request, _record: RequestRecord) -> JsonObject:
        return {name: await modality.describe() for name, modality in self._modalities.items()}

    def _modality(self, name: str) -> Modality:
        modality = self._modalities.get(name)
        if modality is None:
            article = "an" if name == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {name} cascade; start it with --arg {name}=NAME"
            )
        return modality


def _entry(modality: Modality, given: Given, field: str, record: RequestRecord) -> JsonObject:
    """The answer to the item that the request names `field`. Raises FailedItemError if there is none."""
    stage_answer = given.answer
    answer = stage_answer.answer
    if answer is None:
        raise failed_item(field, record)
    return {
        modality.cascade.screen_head.field: answer.label,
        "confidence": answer.confidence,
        "scores": dict(zip(modality.cascade.labels, answer.scores, strict=True)),
        "stage": stage_answer.stage,
        "escalated": stage_answer.escalated,
        "degraded": stage_answer.degraded,
        "truncated": given.truncated,
        "models": {"screen": modality.screen_tag, "expert": modality.expert_tag},
    }
