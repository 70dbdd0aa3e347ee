"""The endpoints of an expert's service: POST /infer takes arrays and returns logits, GET /model says what is served.

A caller names the artifact it wants in `If-Match`, by its digest. A service with another artifact answers 412 and runs
nothing (RFC 9110, 13.1.1), so a screen never gets the answer of an expert that it was not paired with, even in the
middle of an update.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.arrays import Array, Logits
from serving.errors import MalformedError
from serving.expert.wire import TOOK_HEADER, pack, unpack
from serving.http.fast_path import Endpoint
from serving.http.mount import Methods
from serving.http.no_pickle import REFUSED, brings_pickle
from serving.http.scrape import Exposed, metrics_endpoint
from serving.model.session import Session
from serving.watch.tracing import Tracer

METHODS: Methods = {"/infer": "POST", "/model": "GET", "/metrics": "GET"}


def expert_endpoints(
    digest: str,
    session: Session,
    run: Callable[[Sequence[Array]], Logits],
    metrics: Exposed,
    tracer: Tracer | None,
) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS.

    `digest` is the served artifact's, `session` its open session. `run` turns prepared items into logits
    [items, labels].
    """
    return {
        "/infer": only_for(digest, infer_endpoint(run, tracer)),
        "/model": only_for(digest, model_endpoint(session)),
        "/metrics": metrics_endpoint(metrics),
    }


def infer_endpoint(run: Callable[[Sequence[Array]], Logits], tracer: Tracer | None = None) -> Endpoint:
    """An endpoint that runs the arrays of a `serving.expert.wire` message, one call at a time.

    `run` turns prepared items into logits [items, labels]; the reply's header `x-expert-ms` gives its milliseconds.
    A body that is no such message gets 400. With a `tracer`, a call whose `traceparent` is sampled gets a span.
    """
    # One thread: of two calls that share a core, neither ends sooner and the first ends later.
    pool = ThreadPoolExecutor(max_workers=1)

    def timed(items: Sequence[Array], traceparent: str | None) -> tuple[Logits, float]:
        begin = time.monotonic()
        logits = run(items)
        end = time.monotonic()
        if traceparent is not None and tracer is not None:
            tracer.ran(traceparent, begin, end, len(items))
        return logits, (end - begin) * 1e3

    async def infer(request: Request) -> Response:
        try:
            items = unpack(await request.body())
        except MalformedError as error:
            return Response(str(error), 400)
        traceparent = request.headers.get("traceparent")
        if len(items) == 1:  # a single item is done before a thread would have woken up
            logits, took_ms = timed(items, traceparent)
        else:
            logits, took_ms = await asyncio.get_running_loop().run_in_executor(pool, timed, items, traceparent)
        return Response(pack([logits]), media_type="application/octet-stream", headers={TOOK_HEADER: f"{took_ms:.3f}"})

    return infer


def model_endpoint(session: Session) -> Endpoint:
    """An endpoint that names the variant of `session` and its execution provider, asked for and got, as JSON."""

    async def model(_request: Request) -> Response:
        said = {"asked": session.provider_asked, "got": session.provider_got, "variant": session.variant}
        return Response(orjson.dumps(said), media_type="application/json")

    return model


def only_for(digest: str, endpoint: Endpoint) -> Endpoint:
    """`endpoint` for callers that want the artifact of `digest` or any; 412 for others, 415 for a pickle."""
    etag = f'"{digest}"'

    async def checked(request: Request) -> Response:
        if brings_pickle(request.headers):
            return Response(REFUSED, 415)
        if request.headers.get("if-match", etag) != etag:
            return Response("another artifact is served here", 412, {"ETag": etag})
        response = await endpoint(request)
        response.headers["ETag"] = etag
        return response

    return checked
