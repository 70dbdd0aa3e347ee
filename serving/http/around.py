"""What surrounds the fast path: CORS, and the middleware that whoever runs the service adds.

BentoML 1.4.40 puts both inside its own middleware, which the fast path passes by. A page of another origin would then
see the answer to its preflight request and no other, and a check of callers would check no POST. So both are taken out
of there and put in front of everything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

logger = logging.getLogger("sieve")

OF_BENTOML = ("bentoml.", "_bentoml_impl.", "opentelemetry.")
# These are always there, and the service does their work itself or does without.
PASSED_BY = {"OpenTelemetryMiddleware", "TimeoutMiddleware", "ContextMiddleware"}
EXPOSED = ("Server-Timing", "X-Request-Id", "Retry-After")
# What a page may send, unless the configuration says.
SENT = {
    "allow_methods": ("GET", "POST"),
    "allow_headers": (
        "Authorization",
        "X-API-Key",
        "X-Budget-Ms",
        "X-Priority",
        "X-Request-Id",
        "traceparent",
        "tracestate",
    ),
}
LISTS = {*SENT, "allow_origins", "expose_headers"}


def taken_out(app: Starlette) -> list[Middleware]:
    """Take out of `app` the middleware that is not BentoML's own, and CORS; return it, the outermost first.

    A warning names what BentoML was configured to use and does not see the requests on the fast path.
    """
    outside = [each for each in app.user_middleware if not _of_bentoml(each)]
    app.user_middleware = [each for each in app.user_middleware if _of_bentoml(each)]
    blind = [name for each in app.user_middleware if (name := _name(each)) not in PASSED_BY]
    if blind:
        logger.warning(
            "%s of BentoML's configuration: POSTs, /readyz and /livez are answered before it and do not meet it; the "
            "service has metrics, a log and a limit of requests in flight of its own",
            " and ".join(blind),
        )
    # A refusal by other middleware is of use to a page only if the page may read it.
    return sorted(outside, key=lambda each: not _is_cors(each))


def surrounded(app: ASGIApp, outside: Sequence[Middleware]) -> ASGIApp:
    """`app` inside this middleware, the outermost first."""
    for each in reversed(outside):
        options = _open(each.kwargs) if _is_cors(each) else each.kwargs
        app = each.cls(app, *each.args, **options)
    return app


def _open(stated: dict[str, Any]) -> dict[str, Any]:
    """The options of CORS: what the API takes where they do not say, and its headers for pages to read."""
    # BentoML's configuration may have one name in the place of a list.
    listed = {name: [value] if isinstance(value, str) and name in LISTS else value for name, value in stated.items()}
    return {**SENT, **listed, "expose_headers": sorted({*EXPOSED, *listed.get("expose_headers", ())})}


def _is_cors(each: Middleware) -> bool:
    made_by: Any = each.cls  # for its types a callable, never a class
    return made_by is CORSMiddleware


def _of_bentoml(each: Middleware) -> bool:
    return str(getattr(each.cls, "__module__", "")).startswith(OF_BENTOML)


def _name(each: Middleware) -> str:
    return str(getattr(each.cls, "__name__", each.cls))
