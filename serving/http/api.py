"""The endpoints of the API: they read requests, ask the cascades and write answers.

`serving.http.guard` adds what all of them share: request ids, admission, timings and errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from serving.arrays import Array
from serving.cascade.cascade import DIRECT_BATCH_SIZE, Gone, StageAnswer
from serving.cascade.modality import Modality
from serving.errors import InvalidInputError, NotServedError, kind_of
from serving.http.body import MAX_TEXTS, as_number, image_and_budget, json_object, required
from serving.http.fast_path import Endpoint
from serving.http.guard import Guard, JsonObject, described, to_json
from serving.http.loop_turns import LoopTurns
from serving.http.mount import Methods
from serving.http.openapi import openapi
from serving.http.scrape import Exposed, metrics_endpoint
from serving.load.budget import check_budget_ms
from serving.model.image import read_header
from serving.model.preprocess import Content
from serving.model.text import check_text
from serving.watch.record import RequestRecord

METHODS: Methods = {
    "/classify_text": "POST",
    "/classify_texts": "POST",
    "/classify_image": "POST",
    "/models": "GET",
    "/metrics": "GET",
    "/docs.json": "GET",
}
# More work than this, in units of `Api._prepared`, would delay other requests by milliseconds.
DIRECT_WORK = 2_500
# A large image takes hundreds of megabytes while it is decoded.
HEAVY_AT_ONCE = 2
# Work of an item beside its length, in the same units.
ITEM_WORK = 50


def api_endpoints(modalities: Mapping[str, Modality], guard: Guard, metrics: Exposed) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS, over the cascades in `modalities`, keyed by `text` and `image`."""
    api = Api(modalities, guard.turns)

    async def docs(_request: Request) -> Response:
        return to_json(openapi())

    return {
        "/classify_text": guard.limited("/classify_text", api.classify_text),
        "/classify_texts": guard.limited("/classify_texts", api.classify_texts),
        "/classify_image": guard.limited("/classify_image", api.classify_image),
        "/models": guard.free(api.models),
        "/metrics": metrics_endpoint(metrics),
        "/docs.json": docs,
    }


class Api:
    """One handler for each address, for a `Guard` to surround."""

    def __init__(self, modalities: Mapping[str, Modality], turns: LoopTurns) -> None:
        self._modalities, self._turns = modalities, turns
        self._heavy = asyncio.Semaphore(HEAVY_AT_ONCE)

    async def classify_text(self, request: Request, record: RequestRecord) -> JsonObject:
        modality = self._modality("text")
        body = await json_object(request, {"text", "budget_ms"})
        text = check_text(required(body, "text"))
        record.was_read(_budget_ms(request, body.get("budget_ms")))
        ((item, expert_item),) = await self._prepared(modality, [text], len(text), record)
        record.timings.end("tokenise")
        (answer,) = await self._classified(modality, [item], [expert_item], record, request)
        return _entry(modality, answer)

    async def classify_texts(self, request: Request, record: RequestRecord) -> JsonObject:
        modality = self._modality("text")
        body = await json_object(request, {"texts", "budget_ms"})
        texts = required(body, "texts")
        if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
            got = f"a list of {len(texts)}" if isinstance(texts, list) else kind_of(texts)
            raise InvalidInputError(
                "texts", f"must be a list of 1 to {MAX_TEXTS} strings, got {got}; send fewer or more"
            )
        budget_ms = _budget_ms(request, body.get("budget_ms"))
        entries: list[JsonObject] = [{} for _ in texts]
        good: dict[int, str] = {}
        for place, text in enumerate(texts):
            try:
                good[place] = check_text(text, f"texts[{place}]")
            except InvalidInputError as error:
                entries[place] = {"error": described(error)}
        record.was_read(budget_ms)
        if good:
            prepared = await self._prepared(modality, list(good.values()), sum(map(len, good.values())), record)
            record.timings.end("tokenise")
            items, expert_items = zip(*prepared, strict=True)
            answers = await self._classified(modality, items, expert_items, record, request)
            for place, answer in zip(good, answers, strict=True):
                entries[place] = _entry(modality, answer)
        return {"answers": entries}

    async def classify_image(self, request: Request, record: RequestRecord) -> JsonObject:
        modality = self._modality("image")
        data, stated = await image_and_budget(request)
        record.was_read(_budget_ms(request, stated))
        image = read_header(data)
        ((item, expert_item),) = await self._prepared(modality, [image], image.width * image.height // 100, record)
        record.timings.end("decode")
        (answer,) = await self._classified(modality, [item], [expert_item], record, request)
        return _entry(modality, answer)

    async def models(self, _request: Request, _record: RequestRecord) -> JsonObject:
        return {name: await modality.describe() for name, modality in self._modalities.items()}

    async def _prepared(
        self, modality: Modality, contents: Sequence[Content], work: int, record: RequestRecord
    ) -> list[tuple[Array, Array]]:
        """The screen's and the expert's item of each content, prepared in a thread where that takes long.

        `work` is in characters of text or hundreds of pixels, each about a microsecond. The request then has its turn,
        unless its items are so many that the screen runs in a thread.
        """
        alone = len(contents) <= DIRECT_BATCH_SIZE
        units = (work + ITEM_WORK * len(contents)) / 1e3
        if work <= DIRECT_WORK:
            if alone:
                await self._turns.take(record, modality.name, units)
            return [modality.prepare(content) for content in contents]
        async with self._heavy:
            prepared = await asyncio.to_thread(lambda: [modality.prepare(content) for content in contents])
        if alone:
            await self._turns.take(record, f"{modality.name}, prepared", len(contents))
        return prepared

    async def _classified(
        self,
        modality: Modality,
        items: Sequence[Array],
        expert_items: Sequence[Array],
        record: RequestRecord,
        request: Request,
    ) -> list[StageAnswer]:
        assert record.budget is not None, "an endpoint reads the budget before it classifies"
        screened = partial(self._turns.release, record)
        answers = await modality.cascade.classify(
            items, expert_items, record.budget, record.timings, _hung_up(request), screened, trace=record.trace
        )
        record.answered(modality, answers)
        return answers

    def _modality(self, name: str) -> Modality:
        modality = self._modalities.get(name)
        if modality is None:
            article = "an" if name == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {name} cascade; start it with --arg {name}=NAME"
            )
        return modality


def _entry(modality: Modality, given: StageAnswer) -> JsonObject:
    answer = given.answer
    return {
        "label": answer.label,
        "confidence": answer.confidence,
        "scores": dict(zip(modality.cascade.labels, answer.scores, strict=True)),
        "stage": given.stage,
        "escalated": given.escalated,
        "degraded": given.degraded,
        "models": {"screen": modality.screen_tag, "expert": modality.expert_tag},
    }


def _budget_ms(request: Request, stated: object) -> float:
    """The smaller of the body's budget and the one in X-Budget-Ms."""
    budget_ms = check_budget_ms(stated)
    header = request.headers.get("x-budget-ms")
    if header is not None:
        from_header = check_budget_ms(as_number(header, "X-Budget-Ms"), "X-Budget-Ms")
        budget_ms = from_header if stated is None else min(budget_ms, from_header)
    return budget_ms


def _hung_up(request: Request) -> Gone:
    """A function that returns when the client closes its connection. Call it after the body was read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
