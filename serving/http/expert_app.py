"""The endpoints of an expert's service: POST /infer takes arrays and returns logits, GET /model says what is served.

A caller names the artifact it wants in `If-Match`, by its digest. A service with another artifact answers 412 and runs
nothing (RFC 9110, 13.1.1), so a screen never gets the answer of an expert that it was not paired with, even in the
middle of an update.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.arrays import Array, Logits
from serving.errors import MalformedError, StageLateError
from serving.expert.call import Ran
from serving.expert.wire import LEFT_HEADER, TOOK_HEADER, WAITED_HEADER, left_of, pack, unpack
from serving.expert.worker import Call, Worker
from serving.http.fast_path import Endpoint
from serving.http.mount import Methods
from serving.http.no_pickle import REFUSED, brings_pickle
from serving.http.scrape import Exposed, metrics_endpoint
from serving.model.apart import Run
from serving.model.golden import GoldenCheck
from serving.model.session import Session, described
from serving.model.windows import longest
from serving.watch.tracing import Tracer

# Two were enough with uvloop: the connection is read once a turn, first its data and then its end.
TURNS = 3
Check = Callable[[Sequence[Array]], None]
METHODS: Methods = {"/infer": "POST", "/model": "GET", "/metrics": "GET"}


def _take_all(_items: Sequence[Array]) -> None:
    """Refuse no items."""


def expert_endpoints(
    digest: str,
    session: Session,
    golden: GoldenCheck,
    run: Run,
    metrics: Exposed,
    tracer: Tracer | None,
    check: Check = _take_all,
    worker: Worker[Ran] | None = None,
) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS.

    `digest` is the served artifact's, `session` its open session, and `golden` what became of its golden items. `run`
    turns prepared items into logits [items, labels]; `check` raises MalformedError for items that it cannot take.
    `worker` is that of `infer_endpoint`.
    """
    return {
        "/infer": only_for(digest, infer_endpoint(run, tracer, check, worker)),
        "/model": only_for(digest, model_endpoint(session, golden)),
        "/metrics": metrics_endpoint(metrics),
    }


def few_at_a_time(run: Run, ran: Callable[[int, int, float], None], lanes: int = 1) -> Run:
    """`run`, for callers in several threads: `lanes` calls go on at a time, as two on one core would both end later.

    `ran` is told of each call, one after the other: its items, the length of the longest, and its seconds.
    """
    turn, telling = threading.Semaphore(lanes), threading.Lock()

    def in_turn(items: Sequence[Array]) -> Logits:
        with turn:
            begin = time.monotonic()
            logits = run(items)
            took_s = time.monotonic() - begin
        with telling:
            ran(len(items), longest(items), took_s)
        return logits

    return in_turn


def timed_run(run: Run, tracer: Tracer | None, items: Sequence[Array], traceparent: str | None, since_s: float) -> Ran:
    """What `run` makes of items, which have waited for it since `since_s`; with a span where they are traced."""
    begin = time.monotonic()
    logits = run(items)
    end = time.monotonic()
    if traceparent and tracer is not None:
        tracer.ran(traceparent, begin, end, len(items))
    return Ran(logits, (end - begin) * 1e3, (begin - since_s) * 1e3)


class InferCall(Call[Ran]):
    """A call of /infer, which `run` answers."""

    def __init__(
        self, run: Callable[[InferCall], Ran], items: Sequence[Array], traceparent: str | None, until_s: float
    ) -> None:
        super().__init__(items, traceparent, until_s)
        self._run = run

    @staticmethod
    def ran(call: Call[Ran]) -> Ran:
        """What a `Worker` runs."""
        assert isinstance(call, InferCall), "no other calls are given to it"
        return call._run(call)


def infer_endpoint(
    run: Run, tracer: Tracer | None = None, check: Check = _take_all, worker: Worker[Ran] | None = None
) -> Endpoint:
    """An endpoint that runs the arrays of a `serving.expert.wire` message in the threads of `worker`, or one by one.

    `run` turns prepared items into logits [items, labels]; the reply's header `x-expert-ms` gives its milliseconds,
    `x-waited-ms` those for which the call waited for others. A body that is no such message, or whose arrays `check`
    refuses, gets 400. A call is not run, and gets 503, when the milliseconds of its header `x-left-ms` have passed or
    its caller has closed the connection before its turn. With a `tracer`, a call whose `traceparent` is sampled gets a
    span.
    """

    def timed(call: InferCall) -> Ran:
        return timed_run(run, tracer, call.items, call.traceparent, call.since_s)

    working = worker or Worker(InferCall.ran)

    async def infer(request: Request) -> Response:
        arrived_s = time.monotonic()
        try:
            items, left_ms = unpack(await request.body()), left_of(request.headers.get(LEFT_HEADER))
            check(items)
        except MalformedError as error:
            return Response(str(error), 400)
        call = InferCall(timed, items, request.headers.get("traceparent"), arrived_s + left_ms / 1e3)
        gone = asyncio.ensure_future(_hung_up(request, call))
        try:
            # A connection that was closed while this process was stopped is seen to be so in the turns after the one
            # that read its call.
            for _ in range(TURNS):
                await asyncio.sleep(0)
            ran = await working.submit(call)
        except StageLateError as error:
            return Response(str(error), 503)
        finally:
            gone.cancel()
        took = {TOOK_HEADER: f"{ran.expert_ms:.3f}", WAITED_HEADER: f"{ran.waited_ms:.3f}"}
        return Response(pack([ran.logits]), media_type="application/octet-stream", headers=took)

    return infer


async def _hung_up(request: Request, call: InferCall) -> None:
    """Give a call up when its caller closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    call.give_up()


def model_endpoint(session: Session, golden: GoldenCheck) -> Endpoint:
    """An endpoint that names the variant of `session`, its runtime and its execution provider, as JSON.

    `against` says why no promise applies to what it computes; it is empty where `golden` holds.
    """
    said = orjson.dumps({**described(session), "against": golden.against})

    async def model(_request: Request) -> Response:
        return Response(said, media_type="application/json")

    return model


def etag_of(digest: str) -> str:
    """The entity tag of an artifact."""
    return f'"{digest}"'


def only_for(digest: str, endpoint: Endpoint) -> Endpoint:
    """`endpoint` for callers that want the artifact of `digest` or any; 412 for others, 415 for a pickle."""
    etag = etag_of(digest)

    async def checked(request: Request) -> Response:
        if brings_pickle(request.headers):
            return Response(REFUSED, 415)
        if request.headers.get("if-match", etag) != etag:
            return Response("another artifact is served here", 412, {"ETag": etag})
        response = await endpoint(request)
        response.headers["ETag"] = etag
        return response

    return checked
