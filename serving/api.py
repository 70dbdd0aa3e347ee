"""The HTTP API: reads requests, checks them, asks the cascades, writes answers. Knows nothing of BentoML.

Every error leaves as {"error": {"field", "message"}, "request_id"}; no stack trace ever reaches a client.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.budget import Budget, check_budget_ms
from serving.cascade import Outcome
from serving.errors import InvalidInputError, MalformedError, NotServedError, SieveError
from serving.image import MAX_BYTES
from serving.modality import Modality
from serving.openapi import openapi
from serving.telemetry import Timings
from serving.text import check_text, kind_of

MAX_TEXTS = 64
# 64 texts of 20,000 characters, each up to 4 bytes in UTF-8.
MAX_JSON_BYTES = 64 * 20_000 * 4 + 65_536
MAX_UPLOAD_BYTES = MAX_BYTES + 65_536
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

logger = logging.getLogger("sieve")


class Api:
    """The endpoints over the modalities that are served. `modalities` is asked once a request, so it may come late."""

    def __init__(self, modalities: Callable[[], Mapping[str, Modality]]) -> None:
        self._modalities = modalities

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/classify_text", self._guarded(self.classify_text), methods=["POST"]),
                Route("/classify_texts", self._guarded(self.classify_texts), methods=["POST"]),
                Route("/classify_image", self._guarded(self.classify_image), methods=["POST"]),
                Route("/models", self._guarded(self.models), methods=["GET"]),
                Route("/docs.json", lambda _: _json(openapi()), methods=["GET"]),
            ]
        )

    async def classify_text(self, request: Request, timings: Timings) -> dict[str, Any]:
        modality = self._modality("text")
        body = await _json_object(request, {"text", "budget_ms"})
        text = check_text(body.get("text"))
        budget = Budget(timings.start_s, check_budget_ms(body.get("budget_ms")))
        with timings.part("tokenise"):
            item, expert_item = modality.prepare(text)
        (outcome,) = await modality.cascade.classify([item], [expert_item], budget, timings)
        return _answer(outcome, modality)

    async def classify_texts(self, request: Request, timings: Timings) -> dict[str, Any]:
        modality = self._modality("text")
        body = await _json_object(request, {"texts", "budget_ms"})
        texts = body.get("texts")
        if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
            got = f"a list of {len(texts)}" if isinstance(texts, list) else kind_of(texts)
            raise InvalidInputError(
                "texts", f"must be a list of 1 to {MAX_TEXTS} strings, got {got}; send fewer or more"
            )
        budget = Budget(timings.start_s, check_budget_ms(body.get("budget_ms")))
        answers: list[dict[str, Any]] = [{} for _ in texts]
        prepared = {}
        with timings.part("tokenise"):
            for place, text in enumerate(texts):
                try:
                    prepared[place] = modality.prepare(check_text(text, f"texts[{place}]"))
                except InvalidInputError as error:
                    answers[place] = {"error": _error(error)}
        if prepared:
            items, expert_items = zip(*prepared.values(), strict=True)
            outcomes = await modality.cascade.classify(items, expert_items, budget, timings)
            for place, outcome in zip(prepared, outcomes, strict=True):
                answers[place] = _answer(outcome, modality)
        return {"answers": answers}

    async def classify_image(self, request: Request, timings: Timings) -> dict[str, Any]:
        modality = self._modality("image")
        data, stated = await _image_and_budget(request)
        budget = Budget(timings.start_s, check_budget_ms(stated))
        with timings.part("decode"):
            item, expert_item = modality.prepare(data)
        (outcome,) = await modality.cascade.classify([item], [expert_item], budget, timings)
        return _answer(outcome, modality)

    async def models(self, _request: Request, _timings: Timings) -> dict[str, Any]:
        return {name: await modality.describe() for name, modality in self._modalities().items()}

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
            sent = request.headers.get("x-request-id", "")
            request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
            try:
                body, status = await endpoint(request, timings), 200
                if request.method == "POST":
                    body["timings_ms"] = timings.as_dict()
            except SieveError as error:
                body, status = {"error": _error(error)}, _status(error)
            except Exception:
                logger.exception("request %s failed", request_id)
                message = "the service failed on this request; its log has the cause under the request id"
                body, status = {"error": {"field": None, "message": message}}, 500
            body["request_id"] = request_id
            headers = {"X-Request-Id": request_id, "Server-Timing": timings.header()}
            return _json(body, status, headers)

        return guarded


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
        case MalformedError():
            return 400
        case InvalidInputError():
            return 422
        case NotServedError():
            return 404
    return 500


async def _limited(request: Request, limit: int, field: str) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece, given up as soon as it is known to be over `limit` bytes."""
    stated = request.headers.get("content-length", "")
    seen = int(stated) if stated.isdigit() else 0
    if seen <= limit:
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > limit:
                break
            yield chunk
    if seen > limit:
        raise InvalidInputError(field, f"must have at most {limit:,} bytes, got more; send less in one request")


async def _body(request: Request, limit: int, field: str) -> bytes:
    return b"".join([chunk async for chunk in _limited(request, limit, field)])


async def _json_object(request: Request, allowed: set[str]) -> dict[str, Any]:
    data = await _body(request, MAX_JSON_BYTES, "body")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise MalformedError("body", "must be UTF-8, got bytes that are not; encode the JSON as UTF-8") from None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedError("body", f"must be JSON, got something else ({error}); send a JSON object") from None
    if not isinstance(value, dict):
        raise MalformedError("body", f"must be a JSON object, got {kind_of(value)}; send {', '.join(sorted(allowed))}")
    unknown = sorted(set(value) - allowed)
    if unknown:
        raise InvalidInputError(
            "body", f"may have the keys {', '.join(sorted(allowed))}, got {len(unknown)} more; leave them out"
        )
    return value


async def _image_and_budget(request: Request) -> tuple[bytes, float | None]:
    stated: Any = request.query_params.get("budget_ms")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        stream = _limited(request, MAX_UPLOAD_BYTES, "image")
        try:
            form = await MultiPartParser(request.headers, stream, max_files=1, max_fields=8).parse()
        except MultiPartException as error:
            raise MalformedError(
                "body",
                f"must be a multipart form, got one that is broken ({error.message}); let an HTTP client make it",
            ) from None
        try:
            return await _image_of(form), _number(form.get("budget_ms", stated))
        finally:
            await form.close()
    if kind in ("image/jpeg", "image/png"):
        return await _body(request, MAX_BYTES, "image"), _number(stated)
    raise MalformedError(
        "image",
        "must come as multipart/form-data with a file named image, or as a body of type image/jpeg or image/png, "
        f"got {'another content type' if kind else 'no content type'}; set the Content-Type header",
    )


async def _image_of(form: FormData) -> bytes:
    upload = form.get("image")
    if not isinstance(upload, UploadFile):
        got = "a text field" if isinstance(upload, str) else "no such field"
        raise InvalidInputError("image", f"must be a file of the form, got {got}; send one named image")
    return await upload.read(MAX_BYTES + 1)


def _number(stated: Any) -> float | None:
    if stated is None:
        return None
    try:
        return float(stated)
    except (TypeError, ValueError):
        raise InvalidInputError(
            "budget_ms", "must be a positive number of milliseconds, got text that is no number; send digits"
        ) from None
