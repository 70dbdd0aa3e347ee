"""The expert's own address for its API process: POST /infer, raw arrays in, logits out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.errors import MalformedError
from serving.metrics import ExpertMetrics
from serving.tracing import Tracer
from serving.wire import pack, unpack

Array = NDArray[Any]
Endpoint = Callable[[Request], Awaitable[Response]]
TOOK_HEADER = "x-expert-ms"


def infer_endpoint(
    run: Callable[[Sequence[Array]], NDArray[np.float32]], tracer: Callable[[], Tracer | None] = lambda: None
) -> Endpoint:
    """An endpoint around `run`: prepared items -> logits [items, labels]. One call at a time runs.

    400 for what is no message; the reply's header `x-expert-ms` says how long `run` took. Where there is a `tracer`,
    a call with a `traceparent` that is exported gets a span.
    """
    # One thread: two calls that share a core end no sooner, and the first would end later.
    pool = ThreadPoolExecutor(max_workers=1)

    def timed(items: Sequence[Array], traceparent: str | None) -> tuple[NDArray[np.float32], float]:
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


def expert_app(infer: Endpoint, metrics: Callable[[], ExpertMetrics] | None = None) -> Starlette:
    """The application that answers at /infer, and at /metrics where it is given."""

    async def scraped(request: Request) -> Response:
        assert metrics is not None
        return await metrics().scraped(request)

    routes = [Route("/infer", infer, methods=["POST"])]
    if metrics is not None:
        routes.append(Route("/metrics", scraped, methods=["GET"]))
    return Starlette(routes=routes)
