"""What surrounds every endpoint: the request id, admission, the timings, and the errors that a client may see.

Every error leaves as {"error": {"field", "message"}, "request_id"}; no stack trace ever reaches a client.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving.admission import PRIORITIES, AdaptiveLimit, Admission, Priority
from serving.errors import (
    InvalidInputError,
    MalformedError,
    NotServedError,
    OverloadedError,
    SieveError,
    TooSlowError,
)
from serving.metrics import Metrics
from serving.telemetry import Timings

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
RETRY_AFTER_S = 1

logger = logging.getLogger("sieve")

Endpoint = Callable[[Request, Timings], Awaitable[dict[str, Any]]]


class Guard:
    """Wraps endpoints. `metrics` is asked once a request, so it may come late; `max_in_flight`: requests, at most."""

    def __init__(self, metrics: Callable[[], Metrics], max_in_flight: int) -> None:
        self.admission = Admission(AdaptiveLimit(initial=max_in_flight / 2, highest=max_in_flight))
        self._metrics = metrics

    def limited(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that is work: it is admitted or refused, and its answer says where the time went."""

        async def guarded(request: Request) -> Response:
            timings = Timings()
            request_id = _request_id(request)
            try:
                priority = _priority(request)
                if not self.admission.enter(priority):
                    self._metrics().shed(priority)
                    raise OverloadedError("too many requests are in flight; come back after a while")
            except SieveError as error:
                timings.end("admission")
                return _refused(error, request_id, timings)
            answered = False
            try:
                # What has arrived meanwhile is counted before any of it is worked on.
                await asyncio.sleep(0)
                timings.end("admission")
                body = await _guarded(endpoint, request, timings, request_id)
                answered = isinstance(body, dict)
            finally:
                # The expert's time says nothing of the load on this process.
                own_ms = timings.total_ms - timings.spent_ms("queue", "hop", "expert")
                self.admission.leave(own_ms if answered else None)
            if isinstance(body, Response):
                return body
            data = orjson.dumps({**body, "request_id": request_id})
            timings.end("encode")
            # Known only now, and still a part of the answer.
            data = data[:-1] + b',"timings_ms":' + orjson.dumps(timings.as_dict()) + b"}"
            self._metrics().request(request.url.path, timings.total_ms, self.admission)
            headers = {"X-Request-Id": request_id, "Server-Timing": timings.header()}
            return Response(data, 200, headers, media_type="application/json")

        return guarded

    def free(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that tells something and is never refused."""

        async def guarded(request: Request) -> Response:
            timings = Timings()
            request_id = _request_id(request)
            body = await _guarded(endpoint, request, timings, request_id)
            if isinstance(body, Response):
                return body
            return to_json({**body, "request_id": request_id}, headers={"X-Request-Id": request_id})

        return guarded


async def _guarded(
    endpoint: Endpoint, request: Request, timings: Timings, request_id: str
) -> dict[str, Any] | Response:
    try:
        return await endpoint(request, timings)
    except SieveError as error:
        return _refused(error, request_id, timings)
    except ClientDisconnect:
        logger.info("request %s: the client hung up", request_id)
        return Response(status_code=400)
    except Exception:
        logger.exception("request %s failed", request_id)
        message = "the service failed on this request; its log has the cause under the request id"
        return _error_response({"field": None, "message": message}, 500, request_id, timings)


def described(error: SieveError) -> dict[str, Any]:
    """An error as a client reads it."""
    field = error.field if isinstance(error, InvalidInputError) else None
    reason = {"reason": "overloaded"} if isinstance(error, OverloadedError) else {}
    return {"field": field, "message": str(error), **reason}


def to_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


async def not_there(request: Request, error: Exception) -> Response:
    """Answer for what the router refuses: an address or a method that is not there."""
    assert isinstance(error, HTTPException)
    request_id = _request_id(request)
    message = f"{request.method} {request.url.path}: {error.detail.lower()}; the addresses are listed at /docs.json"
    body = {"error": {"field": None, "message": message}, "request_id": request_id}
    return to_json(body, error.status_code, {**(error.headers or {}), "X-Request-Id": request_id})


def _refused(error: SieveError, request_id: str, timings: Timings) -> Response:
    return _error_response(described(error), _status(error), request_id, timings)


def _error_response(error: Mapping[str, Any], status: int, request_id: str, timings: Timings) -> Response:
    headers = {"X-Request-Id": request_id, "Server-Timing": timings.header()}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return to_json({"error": error, "request_id": request_id}, status, headers)


def _request_id(request: Request) -> str:
    sent = request.headers.get("x-request-id", "")
    return sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def _priority(request: Request) -> Priority:
    sent = request.headers.get("x-priority", "normal")
    for priority in PRIORITIES:
        if sent == priority:
            return priority
    raise InvalidInputError(
        "X-Priority", f"must be {' or '.join(PRIORITIES)}, got something else; leave it out for normal"
    )


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
        case OverloadedError():
            return 503
    return 500
