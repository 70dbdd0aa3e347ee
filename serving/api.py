"""The HTTP API: reads requests, checks them, asks the cascades, writes answers. Knows nothing of BentoML.

Every error leaves as {"error": {"field", "message"}, "request_id"}; no stack trace ever reaches a client.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.body import MAX_TEXTS, image_and_budget, json_object, wanted
from serving.budget import Budget, check_budget_ms
from serving.cascade import Outcome
from serving.errors import InvalidInputError, MalformedError, NotServedError, SieveError, TooSlowError
from serving.image import read_header
from serving.modality import Modality
from serving.openapi import openapi
from serving.telemetry import Timings
from serving.text import check_text, kind_of

# Work beyond this would hold up the requests beside it for milliseconds; two at once, since a large image takes
# hundreds of megabytes while it is decoded.
DIRECT_WORK = 2_500
HEAVY_AT_ONCE = 2
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

logger = logging.getLogger("sieve")


class Api:
    """The endpoints over the modalities that are served. `modalities` is asked once a request, so it may come late."""

    def __init__(self, modalities: Callable[[], Mapping[str, Modality]]) -> None:
        self._modalities = modalities
        self._heavy: asyncio.Semaphore | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        app = Starlette(
            exception_handlers={HTTPException: _http_error},
            routes=[
                Route("/classify_text", self._guarded(self.classify_text), methods=["POST"]),
                Route("/classify_texts", self._guarded(self.classify_texts), methods=["POST"]),
                Route("/classify_image", self._guarded(self.classify_image), methods=["POST"]),
                Route("/models", self._guarded(self.models), methods=["GET"]),
                Route("/docs.json", lambda _: _json(openapi()), methods=["GET"]),
            ],
        )
        app.router.redirect_slashes = False
        return app

    async def classify_text(self, request: Request, timings: Timings) -> dict[str, Any]:
        modality = self._modality("text")
        body = await json_object(request, {"text", "budget_ms"})
        text = check_text(wanted(body, "text"))
        budget = Budget(timings.start_s, check_budget_ms(body.get("budget_ms")))
        with timings.part("tokenise"):
            ((item, expert_item),) = await self._prepared(modality, [text], len(text))
        (outcome,) = await modality.cascade.classify([item], [expert_item], budget, timings)
        return _answer(outcome, modality)

    async def classify_texts(self, request: Request, timings: Timings) -> dict[str, Any]:
        modality = self._modality("text")
        body = await json_object(request, {"texts", "budget_ms"})
        texts = wanted(body, "texts")
        if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
            got = f"a list of {len(texts)}" if isinstance(texts, list) else kind_of(texts)
            raise InvalidInputError(
                "texts", f"must be a list of 1 to {MAX_TEXTS} strings, got {got}; send fewer or more"
            )
        budget = Budget(timings.start_s, check_budget_ms(body.get("budget_ms")))
        answers: list[dict[str, Any]] = [{} for _ in texts]
        good: dict[int, str] = {}
        for place, text in enumerate(texts):
            try:
                good[place] = check_text(text, f"texts[{place}]")
            except InvalidInputError as error:
                answers[place] = {"error": _error(error)}
        if good:
            with timings.part("tokenise"):
                prepared = await self._prepared(modality, list(good.values()), sum(map(len, good.values())))
            items, expert_items = zip(*prepared, strict=True)
            outcomes = await modality.cascade.classify(items, expert_items, budget, timings)
            for place, outcome in zip(good, outcomes, strict=True):
                answers[place] = _answer(outcome, modality)
        return {"answers": answers}

    async def classify_image(self, request: Request, timings: Timings) -> dict[str, Any]:
        modality = self._modality("image")
        data, stated = await image_and_budget(request)
        budget = Budget(timings.start_s, check_budget_ms(stated))
        with timings.part("decode"):
            image = read_header(data)
            ((item, expert_item),) = await self._prepared(modality, [image], image.width * image.height // 100)
        (outcome,) = await modality.cascade.classify([item], [expert_item], budget, timings)
        return _answer(outcome, modality)

    async def models(self, _request: Request, _timings: Timings) -> dict[str, Any]:
        return {name: await modality.describe() for name, modality in self._modalities().items()}

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
        modality = self._modalities().get(name)
        if modality is None:
            article = "an" if name == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {name} cascade; start it with --arg {name}=NAME"
            )
        return modality

    def _guarded(
        self, endpoint: Callable[[Request, Timings], Awaitable[dict[str, Any]]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Wrap an endpoint with the request id, the timings, and the errors that a client may see."""

        async def guarded(request: Request) -> Response:
            timings = Timings()
            request_id = _request_id(request)
            try:
                body, status = await endpoint(request, timings), 200
                if request.method == "POST":
                    body["timings_ms"] = timings.as_dict()
            except SieveError as error:
                body, status = {"error": _error(error)}, _status(error)
            except ClientDisconnect:
                logger.info("request %s: the client hung up", request_id)
                return Response(status_code=400)
            except Exception:
                logger.exception("request %s failed", request_id)
                message = "the service failed on this request; its log has the cause under the request id"
                body, status = {"error": {"field": None, "message": message}}, 500
            body["request_id"] = request_id
            headers = {"X-Request-Id": request_id, "Server-Timing": timings.header()}
            return _json(body, status, headers)

        return guarded


def _request_id(request: Request) -> str:
    sent = request.headers.get("x-request-id", "")
    return sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer for what the router refuses: an address or a method that is not there."""
    assert isinstance(error, HTTPException)
    request_id = _request_id(request)
    message = f"{request.method} {request.url.path}: {error.detail.lower()}; the addresses are listed at /docs.json"
    body = {"error": {"field": None, "message": message}, "request_id": request_id}
    return _json(body, error.status_code, {**(error.headers or {}), "X-Request-Id": request_id})


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def _answer(outcome: Outcome, modality: Modality) -> dict[str, Any]:
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


def _error(error: SieveError) -> dict[str, Any]:
    if isinstance(error, InvalidInputError):
        return {"field": error.field, "message": str(error)}
    return {"field": None, "message": str(error)}


def _status(error: SieveError) -> int:
    match error:
        case TooSlowError():
            return 408
        case MalformedError():
            return 400
        case InvalidInputError():
            return 422
        case NotServedError():
            return 404
    return 500
