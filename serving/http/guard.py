"""What surrounds every endpoint: the request id, admission, the timings, who is told, and the errors a client may see.

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

from serving.errors import (
    InvalidInputError,
    MalformedError,
    NotServedError,
    OverloadedError,
    SieveError,
    TooSlowError,
)
from serving.load.admission import PRIORITIES, AdaptiveLimit, Admission, Priority
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from serving.watch.record import RequestRecord

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
RETRY_AFTER_S = 1

logger = logging.getLogger("sieve")

Endpoint = Callable[[Request, RequestRecord], Awaitable[dict[str, Any]]]


class Guard:
    """Wraps endpoints. `observer` is asked once a request, so it may come late; `max_in_flight`: requests, at most."""

    def __init__(self, observer: Callable[[], Observer], max_in_flight: int) -> None:
        self.admission = Admission(AdaptiveLimit(initial=max_in_flight / 2, highest=max_in_flight))
        self._observer = observer

    def limited(self, address: str, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that is work: it is admitted or refused, and its answer says where the time went."""

        async def guarded(request: Request) -> Response:
            observer = self._observer()
            record = observer.begin(address, request, _request_id(request))
            response = await self._admitted(endpoint, request, record, observer.metrics)
            observer.ended(record, response.status_code)
            return response

        return guarded

    async def _admitted(
        self, endpoint: Endpoint, request: Request, record: RequestRecord, metrics: Metrics
    ) -> Response:
        try:
            priority = _priority(request)
            if not self.admission.enter(priority):
                metrics.shed(priority, self.admission.reason())
                raise OverloadedError("too many requests are in flight; come back after a while")
        except SieveError as error:
            record.timings.end("admission")
            return _refused(error, record)
        metrics.soon()
        answered = False
        try:
            # What has arrived meanwhile is counted before any of it is worked on.
            await asyncio.sleep(0)
            record.timings.end("admission")
            body = await _guarded(endpoint, request, record)
            answered = isinstance(body, dict)
        finally:
            # The expert's time says nothing of the load on this process.
            own_ms = record.timings.total_ms - record.timings.spent_ms("queue", "hop", "expert")
            self.admission.leave(own_ms if answered else None)
        if isinstance(body, Response):
            return body
        data = orjson.dumps({**body, "request_id": record.request_id})
        record.timings.end("encode")
        # Known only now, and still a part of the answer.
        took = record.timings.as_dict()
        data = data[:-1] + b',"timings_ms":' + orjson.dumps(took) + b"}"
        headers = {"X-Request-Id": record.request_id, "Server-Timing": record.timings.header(took)}
        return Response(data, 200, headers, media_type="application/json")

    def free(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that tells something and is never refused."""

        async def guarded(request: Request) -> Response:
            record = RequestRecord(request.url.path, _request_id(request))
            body = await _guarded(endpoint, request, record)
            if isinstance(body, Response):
                return body
            headers = {"X-Request-Id": record.request_id}
            return to_json({**body, "request_id": record.request_id}, headers=headers)

        return guarded


async def _guarded(endpoint: Endpoint, request: Request, record: RequestRecord) -> dict[str, Any] | Response:
    try:
        return await endpoint(request, record)
    except SieveError as error:
        return _refused(error, record)
    except ClientDisconnect:
        record.client_hung_up()
        logger.info("request %s: the client hung up", record.request_id)
        return Response(status_code=400)
    except Exception:
        logger.exception("request %s failed", record.request_id)
        message = "the service failed on this request; its log has the cause under the request id"
        return _error_response({"field": None, "message": message}, 500, record)


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


def _refused(error: SieveError, record: RequestRecord) -> Response:
    return _error_response(described(error), _status(error), record)


def _error_response(error: Mapping[str, Any], status: int, record: RequestRecord) -> Response:
    headers = {"X-Request-Id": record.request_id, "Server-Timing": record.timings.header()}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return to_json({"error": error, "request_id": record.request_id}, status, headers)


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
