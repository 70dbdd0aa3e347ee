"""Surrounds every endpoint: request id, admission, timings, the report to the observer, and the errors a client sees.

Every error has the body {"error": {"field", "message"}, "request_id"}. No stack trace reaches a client.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving.errors import (
    AlreadyToldError,
    FailedItemError,
    InvalidInputError,
    KeyMissingError,
    MalformedError,
    NotRememberedError,
    NotServedError,
    OverloadedError,
    RightMissingError,
    SieveError,
    SwitchRefusedError,
    TooLargeError,
    TooOftenError,
    TooSlowError,
    WrongTypeError,
)
from serving.http.fast_path import Endpoint
from serving.http.loop_turns import LoopTurns
from serving.http.priority import PriorityRule
from serving.load.admission import MESSAGES, Admission, Reason
from serving.watch.observer import Observer
from serving.watch.record import RequestRecord

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
RETRY_AFTER_S = 1
ARRIVED = "sieve.arrived_s"
"""Key of an ASGI scope: when the kernel had the request's bytes, in seconds of the monotonic clock."""

logger = logging.getLogger("sieve")

JsonObject = dict[str, object]
Handler = Callable[[Request, RequestRecord], Awaitable[JsonObject]]
"""Returns the body of an answer, or raises. It writes into the record what it learns of the request."""
Enter = Callable[[], None]
"""Takes a place in admission. Raises OverloadedError when there is none."""
Worker = Callable[[Request, RequestRecord, Enter], Awaitable[JsonObject]]
"""A handler that works: it reads and checks the request, then enters, then works."""


Given = TypeVar("Given", contravariant=True)
Body = TypeVar("Body")


class Reply(Protocol):
    """What goes back to a client."""

    @property
    def status_code(self) -> int:
        """The HTTP status; of another protocol the one that means the same."""
        ...


R = TypeVar("R", bound=Reply)
Sent = TypeVar("Sent", bound=Reply, covariant=True)


class Written(Protocol[Given, Sent]):
    """How a protocol writes answers and errors."""

    def answer(self, body: Given, record: RequestRecord) -> Sent:
        """An answer. Ends the part `encode`."""
        ...

    def error(self, error: JsonObject, status: int, record: RequestRecord) -> Sent:
        """An error, as `described` gives it, with the HTTP status that it has."""
        ...


class Guard:
    """Turns handlers into endpoints. It admits requests through `admission` and reports them to `observer`.

    `priority` decides which of them are of high priority.
    """

    def __init__(self, observer: Observer, admission: Admission, priority: PriorityRule | None = None) -> None:
        self._observer, self._admission = observer, admission
        self.priority, self.max_in_flight = priority or PriorityRule(), admission.max_in_flight
        self.turns = LoopTurns(admission)

    def limited(self, address: str, handler: Worker) -> Endpoint:
        """An endpoint for work: it admits or refuses the request, and its answer holds `timings_ms`.

        A full service refuses before it reads. Otherwise a request takes its place once its body is there.
        """
        return self.limited_as(address, handler, OURS)

    def limited_as(
        self,
        address: str,
        handler: Callable[[Request, RequestRecord, Enter], Awaitable[Body]],
        written: Written[Body, R],
    ) -> Callable[[Request], Coroutine[Any, Any, R]]:
        """The same for a handler whose answers and errors are `written` as another protocol has them."""

        async def guarded(request: Request) -> R:
            arrived_s = request.scope.get(ARRIVED)
            record = self._observer.begin(address, request.headers, request_id_of(request), arrived_s)
            reply = await self._admitted(handler, request, record, written)
            self._observer.ended(record, reply.status_code)
            return reply

        return guarded

    async def _admitted(
        self,
        handler: Callable[[Request, RequestRecord, Enter], Awaitable[Body]],
        request: Request,
        record: RequestRecord,
        written: Written[Body, R],
    ) -> R:
        admission, metrics = self._admission, self._observer.metrics
        entered = False

        def enter() -> None:
            nonlocal entered
            _require(admission.enter(record.priority, record.own_start_s, time.monotonic()))
            entered = True

        reply: R
        try:
            record.priority = self.priority(request)
            reason = admission.refuses(record.priority, record.own_start_s, time.monotonic())
            record.timings.end("admission")
            _require(reason)
        except SieveError as error:
            reply = _refused(error, record, written)
        else:
            metrics.flush_soon()
            try:
                reply = await _guarded(handler(request, record, enter), record, written)
            finally:
                self.turns.release(record)
                if entered:
                    admission.leave()
        if record.refusal is not None:
            metrics.shed(record.priority, record.refusal)
        return reply

    @staticmethod
    def free(handler: Handler) -> Endpoint:
        """An endpoint for information: it is never refused and is not reported."""

        async def guarded(request: Request) -> Response:
            record = RequestRecord(request.scope["path"], request_id_of(request))
            return await _guarded(handler(request, record), record, UNTIMED)

        return guarded


def _require(refusal: Reason | None) -> None:
    if refusal is not None:
        raise OverloadedError(MESSAGES[refusal], refusal)


async def _guarded(answer: Awaitable[Body], record: RequestRecord, written: Written[Body, R]) -> R:
    try:
        return written.answer(await answer, record)
    except SieveError as error:
        return _refused(error, record, written)
    except ClientDisconnect:
        record.client_hung_up()
        logger.info("request %s: the client hung up", record.request_id)
        return written.error({"field": None, "message": "the client hung up"}, 400, record)
    except Exception:
        logger.exception("request %s failed", record.request_id)
        message = "the service failed on this request; its log has the cause under the request id"
        return written.error({"field": None, "message": message}, 500, record)


def described(error: SieveError) -> JsonObject:
    """The `error` object of an answer."""
    field = error.field if isinstance(error, InvalidInputError | FailedItemError) else None
    reason = {"reason": "overloaded"} if isinstance(error, OverloadedError) else {}
    return {"field": field, "message": str(error), **reason}


def to_json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(to_bytes(body), status, headers, media_type="application/json")


def to_bytes(body: object) -> bytes:
    """A body as JSON."""
    return orjson.dumps(body)


def problem(message: str, request_id: str) -> JsonObject:
    """The body of an error that is about no field."""
    return {"error": {"field": None, "message": message}, "request_id": request_id}


def _refused(error: SieveError, record: RequestRecord, written: Written[Body, R]) -> R:
    if isinstance(error, OverloadedError):
        record.refusal = error.reason
    return written.error(described(error), status_of(error), record)


class Untimed:
    """Answers to requests for information, in our own protocol."""

    def answer(self, body: JsonObject, record: RequestRecord) -> Response:
        """The body, with the id of the request."""
        return to_json({**body, "request_id": record.request_id}, headers={"X-Request-Id": record.request_id})

    def error(self, error: JsonObject, status: int, record: RequestRecord) -> Response:
        """The error, with the id of the request."""
        return to_json({"error": error, "request_id": record.request_id}, status, error_headers(status, record))


class Timed(Untimed):
    """Answers to requests for work."""

    def answer(self, body: JsonObject, record: RequestRecord) -> Response:
        """The body, with the id of the request and what its parts took."""
        data = orjson.dumps({**body, "request_id": record.request_id})
        record.timings.end("encode")
        # The timings include the encoding above, so they are appended to the encoded object.
        took = record.timings.as_dict()
        data = data[:-1] + b',"timings_ms":' + orjson.dumps(took) + b"}"
        headers = {"X-Request-Id": record.request_id, "Server-Timing": record.timings.header(took)}
        return Response(data, 200, headers, media_type="application/json")


OURS, UNTIMED = Timed(), Untimed()


def error_headers(status: int, record: RequestRecord) -> dict[str, str]:
    """The headers of an error with this status."""
    headers = {"X-Request-Id": record.request_id, "Server-Timing": record.timings.header()}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def request_id_of(request: Request) -> str:
    """The id that a request states, if it is sound, else a new one."""
    return sound_id(request.headers.get("x-request-id", ""))


def sound_id(sent: str) -> str:
    """The id that a request states, if it is sound, else a new one."""
    if REQUEST_ID.fullmatch(sent):
        return sent
    # An id must be unlikely to come twice, no secret: uuid.uuid4 would ask the kernel for each.
    return f"{random.getrandbits(128):032x}"  # nosec B311 # no secret


def status_of(error: SieveError) -> int:
    """The HTTP status of an error."""
    match error:
        case KeyMissingError():
            return 401
        case RightMissingError():
            return 403
        case TooSlowError():
            return 408
        case SwitchRefusedError() | AlreadyToldError():
            return 409
        case TooLargeError():
            return 413
        case WrongTypeError():
            return 415
        case MalformedError():
            return 400
        case InvalidInputError():
            return 422
        case TooOftenError():
            return 429
        case NotServedError() | NotRememberedError():
            return 404
        case OverloadedError():
            return 503
    return 500
