"""The HTTP API: reads requests, checks them, asks the cascades, writes answers. Knows nothing of BentoML.

What is the same for all of them (request ids, admission, errors) is in `serving.http.guard`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.cascade.cascade import Gone, StageAnswer
from serving.cascade.modality import Modality
from serving.errors import InvalidInputError, NotServedError, kind_of
from serving.http.body import MAX_TEXTS, as_number, image_and_budget, json_object, wanted
from serving.http.guard import Guard, described, not_there, to_json
from serving.http.openapi import openapi
from serving.load.admission import Admission
from serving.load.budget import check_budget_ms
from serving.model.image import read_header
from serving.model.text import check_text
from serving.watch.observer import Observer
from serving.watch.record import RequestRecord

# Work beyond this would hold up the requests beside it for milliseconds; two at once, since a large image takes
# hundreds of megabytes while it is decoded.
DIRECT_WORK = 2_500
HEAVY_AT_ONCE = 2


class Served(Protocol):
    """What there is to answer with."""

    modalities: Mapping[str, Modality]
    observer: Observer


class Api:
    """The endpoints over what is served, which is asked for once a request, so it may come late."""

    def __init__(self, served: Callable[[], Served], max_in_flight: int) -> None:
        self._served = served
        self._guard = Guard(lambda: served().observer, max_in_flight)
        self._heavy: asyncio.Semaphore | None = None
        endpoints = (self.classify_text, self.classify_texts, self.classify_image)
        addresses = {f"/{endpoint.__name__}": endpoint for endpoint in endpoints}
        self.posts = {address: self._guard.limited(address, endpoint) for address, endpoint in addresses.items()}
        """What is POSTed where; see `serving.http.fast_path`."""

    @property
    def admission(self) -> Admission:
        """What is in flight."""
        return self._guard.admission

    def app(self) -> Starlette:
        """The ASGI application."""
        app = Starlette(
            exception_handlers={HTTPException: not_there},
            routes=[
                *(Route(path, handler, methods=["POST"]) for path, handler in self.posts.items()),
                Route("/models", self._guard.free(self.models), methods=["GET"]),
                Route("/metrics", self.metrics, methods=["GET"]),
                Route("/docs.json", lambda _: to_json(openapi()), methods=["GET"]),
            ],
        )
        app.router.redirect_slashes = False
        return app

    async def classify_text(self, request: Request, record: RequestRecord) -> dict[str, Any]:
        modality = self._modality("text")
        body = await json_object(request, {"text", "budget_ms"})
        text = check_text(wanted(body, "text"))
        record.was_read(_budget_ms(request, body.get("budget_ms")))
        ((item, expert_item),) = await self._prepared(modality, [text], len(text))
        record.timings.end("tokenise")
        (outcome,) = await _classified(modality, [item], [expert_item], record, request)
        return _answer(modality, outcome)

    async def classify_texts(self, request: Request, record: RequestRecord) -> dict[str, Any]:
        modality = self._modality("text")
        body = await json_object(request, {"texts", "budget_ms"})
        texts = wanted(body, "texts")
        if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
            got = f"a list of {len(texts)}" if isinstance(texts, list) else kind_of(texts)
            raise InvalidInputError(
                "texts", f"must be a list of 1 to {MAX_TEXTS} strings, got {got}; send fewer or more"
            )
        budget_ms = _budget_ms(request, body.get("budget_ms"))
        answers: list[dict[str, Any]] = [{} for _ in texts]
        good: dict[int, str] = {}
        for place, text in enumerate(texts):
            try:
                good[place] = check_text(text, f"texts[{place}]")
            except InvalidInputError as error:
                answers[place] = {"error": described(error)}
        record.was_read(budget_ms)
        if good:
            prepared = await self._prepared(modality, list(good.values()), sum(map(len, good.values())))
            record.timings.end("tokenise")
            items, expert_items = zip(*prepared, strict=True)
            outcomes = await _classified(modality, items, expert_items, record, request)
            for place, outcome in zip(good, outcomes, strict=True):
                answers[place] = _answer(modality, outcome)
        return {"answers": answers}

    async def classify_image(self, request: Request, record: RequestRecord) -> dict[str, Any]:
        modality = self._modality("image")
        data, stated = await image_and_budget(request)
        record.was_read(_budget_ms(request, stated))
        image = read_header(data)
        ((item, expert_item),) = await self._prepared(modality, [image], image.width * image.height // 100)
        record.timings.end("decode")
        (outcome,) = await _classified(modality, [item], [expert_item], record, request)
        return _answer(modality, outcome)

    async def models(self, _request: Request, _record: RequestRecord) -> dict[str, Any]:
        return {name: await modality.describe() for name, modality in self._served().modalities.items()}

    async def metrics(self, request: Request) -> Response:
        return await self._served().observer.metrics.scraped(request)

    async def _prepared(self, modality: Modality, contents: Sequence[Any], work: int) -> list[tuple[Any, Any]]:
        """Items of both stages. What takes long enough to hold others up goes to a thread, a few at a time.

        `work` is in characters of text, or hundreds of pixels: a microsecond each, roughly.
        """
        if work <= DIRECT_WORK:
            return [modality.prepare(content) for content in contents]
        if self._heavy is None:
            self._heavy = asyncio.Semaphore(HEAVY_AT_ONCE)
        async with self._heavy:
            return await asyncio.to_thread(lambda: [modality.prepare(content) for content in contents])

    def _modality(self, name: str) -> Modality:
        modality = self._served().modalities.get(name)
        if modality is None:
            article = "an" if name == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {name} cascade; start it with --arg {name}=NAME"
            )
        return modality


async def _classified(
    modality: Modality,
    items: Sequence[Any],
    expert_items: Sequence[Any],
    record: RequestRecord,
    request: Request,
) -> list[StageAnswer]:
    assert record.budget is not None, "an endpoint reads the budget before it classifies"
    outcomes = await modality.cascade.classify(
        items, expert_items, record.budget, record.timings, _hung_up(request), trace=record.trace
    )
    record.answered(modality, outcomes)
    return outcomes


def _answer(modality: Modality, outcome: StageAnswer) -> dict[str, Any]:
    answer = outcome.answer
    return {
        "label": answer.label,
        "confidence": answer.confidence,
        "scores": dict(zip(modality.cascade.labels, answer.scores, strict=True)),
        "stage": outcome.stage,
        "escalated": outcome.escalated,
        "degraded": outcome.degraded,
        "models": {"screen": modality.screen_tag, "expert": modality.expert_tag},
    }


def _budget_ms(request: Request, stated: Any) -> float:
    """The budget that the body states or the one in the header X-Budget-Ms, whichever is smaller."""
    budget_ms = check_budget_ms(stated)
    header = request.headers.get("x-budget-ms")
    if header is not None:
        from_header = check_budget_ms(as_number(header, "X-Budget-Ms"), "X-Budget-Ms")
        budget_ms = from_header if stated is None else min(budget_ms, from_header)
    return budget_ms


def _hung_up(request: Request) -> Gone:
    """Ends when the client closes its connection; the body has been read, so nothing else can come."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
