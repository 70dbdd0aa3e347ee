"""The expert's own addresses for its API: POST /infer, raw arrays in, logits out, and GET /model, what it serves.

A caller names the artifact that it wants in `If-Match`, by its digest; another one's server answers 412 and runs
nothing (RFC 9110, 13.1.1). So a wrong pair, as in the middle of an update, gives no wrong answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.arrays import Array, Logits
from serving.errors import MalformedError
from serving.expert.wire import TOOK_HEADER, pack, unpack
from serving.http.no_pickle import REFUSED, brings_pickle
from serving.model.session import Session
from serving.watch.metrics import ExpertMetrics
from serving.watch.tracing import Tracer

Endpoint = Callable[[Request], Awaitable[Response]]


class ServedExpert(Protocol):
    """What answers here, with the artifact's digest; asked for once a request, so it may come late."""

    digest: str
    session: Session
    metrics: ExpertMetrics


def infer_endpoint(
    run: Callable[[Sequence[Array]], Logits], tracer: Callable[[], Tracer | None] = lambda: None
) -> Endpoint:
    """An endpoint around `run`: prepared items -> logits [items, labels]. One call at a time runs.

    400 for what is no message; the reply's header `x-expert-ms` says how long `run` took. Where there is a `tracer`,
    a call with a `traceparent` that is exported gets a span.
    """
    # One thread: two calls that share a core end no sooner, and the first would end later.
    pool = ThreadPoolExecutor(max_workers=1)

    def timed(items: Sequence[Array], traceparent: str | None) -> tuple[Logits, float]:
        begin = time.monotonic()
        logits = run(items)
        end = time.monotonic()
        if traceparent is not None and (traces := tracer()) is not None:
            traces.ran(traceparent, begin, end, len(items))
        return logits, (end - begin) * 1e3

    async def infer(request: Request) -> Response:
        try:
            items = unpack(await request.body())
        except MalformedError as error:
            return Response(str(error), 400)
        traceparent = request.headers.get("traceparent")
        if len(items) == 1:  # over before a thread has woken up
            logits, took_ms = timed(items, traceparent)
        else:
            logits, took_ms = await asyncio.get_running_loop().run_in_executor(pool, timed, items, traceparent)
        return Response(pack([logits]), media_type="application/octet-stream", headers={TOOK_HEADER: f"{took_ms:.3f}"})

    return infer


def model_endpoint(served: Callable[[], ServedExpert]) -> Endpoint:
    """An endpoint that says the execution provider asked for and got, and the variant that runs."""

    async def model(_request: Request) -> Response:
        session = served().session
        said = {"asked": session.provider_asked, "got": session.provider_got, "variant": session.variant}
        return Response(orjson.dumps(said), media_type="application/json")

    return model


def only_for(served: Callable[[], ServedExpert], endpoint: Endpoint) -> Endpoint:
    """The endpoint for those who want the artifact that is served, or any; 412 for others, 415 for a pickle."""

    async def checked(request: Request) -> Response:
        if brings_pickle(request.headers):
            return Response(REFUSED, 415)
        ours = f'"{served().digest}"'
        if request.headers.get("if-match", ours) != ours:
            return Response("another artifact is served here", 412, {"ETag": ours})
        response = await endpoint(request)
        response.headers["ETag"] = ours
        return response

    return checked


def expert_app(served: Callable[[], ServedExpert], infer: Endpoint) -> Starlette:
    """The application that answers at /infer, at /model and at /metrics."""

    async def scraped(request: Request) -> Response:
        return await served().metrics.scraped(request)

    return Starlette(
        routes=[
            Route("/infer", infer, methods=["POST"]),
            Route("/model", only_for(served, model_endpoint(served)), methods=["GET"]),
            Route("/metrics", scraped, methods=["GET"]),
        ]
    )
