"""The endpoints of the API: they read requests, ask the cascades and write answers.

`serving.http.guard` adds what all of them share: request ids, admission, timings and errors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from serving.cascade.cascade import StageAnswer
from serving.cascade.modality import Modality
from serving.errors import FailedItemError, NotServedError
from serving.http.body import image_and_budget, json_object
from serving.http.fast_path import Endpoint
from serving.http.guard import Enter, Guard, JsonObject, described, to_bytes
from serving.http.heavy import HeavyRunner
from serving.http.intake import Intake
from serving.http.loop_turns import LoopTurns
from serving.http.mount import Methods
from serving.http.openapi import openapi
from serving.http.preparing import Preparing, hung_up
from serving.http.scrape import Exposed, metrics_endpoint
from serving.http.stated_budget import budget_ms_of
from serving.http.texts import SingleTexts, TextForm, TextPairs
from serving.load.memory import MemoryLimit
from serving.model.formats import ImageFormats
from serving.model.image_header import DEFAULT_FORMATS
from serving.model.preprocess import StageItems
from serving.watch.record import RequestRecord

logger = logging.getLogger("sieve")

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
    memory: MemoryLimit,
    client_header: str = "",
    formats: ImageFormats = DEFAULT_FORMATS,
) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS, over the cascades in `modalities`, keyed by `text` and `image`.

    `memory` bounds what requests hold. `client_header` names the header that tells clients apart; without it their
    addresses do. Image files are read in the `formats` given.
    """
    api = Api(modalities, guard.turns, memory, client_header, formats)

    described_once = to_bytes(openapi(formats, pairs=for_pairs(modalities)))

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

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        turns: LoopTurns,
        memory: MemoryLimit,
        client_header: str = "",
        formats: ImageFormats = DEFAULT_FORMATS,
    ) -> None:
        self._modalities = modalities
        self._form: TextForm = TextPairs() if for_pairs(modalities) else SingleTexts()
        heavy = HeavyRunner(memory)
        self._preparing = Preparing(turns, heavy, client_header, formats)
        self._intake = Intake(memory, heavy.start_next)

    async def classify_text(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("text")
        with self._intake.open(request) as arriving:
            body = await json_object(arriving, self._form.one_keys, misplaced=self._form.misplaced)
            texts = [self._form.one(body)]
            record.was_read(budget_ms_of(request, body.get("budget_ms")), arriving.waited_s)
            enter()
            prepared = await self._preparing.texts(modality, texts, self._form.characters(texts), record, request)
            record.timings.end("tokenise")
            (answer,) = await self._classified(modality, prepared, record, request)
        return _entry(modality, answer, prepared[0].truncated, "text", record)

    async def classify_texts(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("text")
        with self._intake.open(request) as arriving:
            body = await json_object(arriving, self._form.many_keys, misplaced=self._form.misplaced)
            good, entries = self._form.many(body)
            record.was_read(budget_ms_of(request, body.get("budget_ms")), arriving.waited_s)
            enter()
            if good:
                texts = list(good.values())
                prepared = await self._preparing.texts(modality, texts, self._form.characters(texts), record, request)
                record.timings.end("tokenise")
                answers = await self._classified(modality, prepared, record, request)
                for place, items, answer in zip(good, prepared, answers, strict=True):
                    try:
                        entries[place] = _entry(modality, answer, items.truncated, f"texts[{place}]", record)
                    except FailedItemError as error:
                        entries[place] = {"error": described(error)}
        return {"answers": entries}

    async def classify_image(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("image")
        with self._intake.open(request) as arriving:
            data, stated = await image_and_budget(arriving)
            file_bytes = len(data)
            arriving.keep(file_bytes)
            record.was_read(budget_ms_of(request, stated), arriving.waited_s)
            image = await self._preparing.header(data)
            del data  # the image holds the file, or what is needed of it
            enter()
            prepared = await self._preparing.image(modality, image, file_bytes, record, request)
            record.timings.end("decode")
            (answer,) = await self._classified(modality, prepared, record, request)
        return _entry(modality, answer, prepared[0].truncated, "image", record)

    async def models(self, _request: Request, _record: RequestRecord) -> JsonObject:
        return {name: await modality.describe() for name, modality in self._modalities.items()}

    async def _classified(
        self, modality: Modality, prepared: Sequence[StageItems], record: RequestRecord, request: Request
    ) -> list[StageAnswer]:
        assert record.budget is not None, "an endpoint reads the budget before it classifies"
        items, expert_items, truncated = zip(*prepared, strict=True)
        screened = partial(self._preparing.screened, record)
        try:
            answers = await modality.cascade.classify(
                items, expert_items, record.budget, record.timings, hung_up(request), screened, trace=record.trace
            )
        finally:
            screened()
        record.answered(modality, answers, sum(truncated))
        return answers

    def _modality(self, name: str) -> Modality:
        modality = self._modalities.get(name)
        if modality is None:
            article = "an" if name == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {name} cascade; start it with --arg {name}=NAME"
            )
        return modality


def _entry(modality: Modality, given: StageAnswer, truncated: bool, field: str, record: RequestRecord) -> JsonObject:
    """The answer to the item that the request names `field`. Raises FailedItemError if there is none."""
    answer = given.answer
    if answer is None:
        logger.error("request %s: both models failed on %s", record.request_id, field)
        raise FailedItemError(field)
    return {
        modality.cascade.screen_head.field: answer.label,
        "confidence": answer.confidence,
        "scores": dict(zip(modality.cascade.labels, answer.scores, strict=True)),
        "stage": given.stage,
        "escalated": given.escalated,
        "degraded": given.degraded,
        "truncated": truncated,
        "models": {"screen": modality.screen_tag, "expert": modality.expert_tag},
    }
