"""Refuses pickle: loading one runs whatever code its sender put in.

BentoML's entry service refuses `application/vnd.bentoml+pickle`, but its inner services load it from anybody who
reaches their port (1.4.40, `_bentoml_impl/server/app.py`). No other content type leads to pickle
(`_bentoml_impl/serde.py`): the parts of a multipart form are read as JSON. The `Payload-Container` headers belong to
runners, which our services do not have; they are refused all the same.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

RUNNER_HEADERS = frozenset((b"payload-container", b"payload-meta", b"batch-size", b"buffer-lengths"))
REFUSED = "pickle is never loaded here: send raw arrays to /infer, or JSON"


def brings_pickle(headers: Headers) -> bool:
    """Whether any header of a request says that its body is a pickle."""
    # One pass over the bytes: each call of an expert is looked at here, and again by its endpoint.
    return any(
        name in RUNNER_HEADERS or (name == b"content-type" and b"pickle" in value.lower())
        for name, value in headers.raw
    )


class NoPickle:
    """ASGI middleware that answers a request with a pickle with 415, before its body is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and brings_pickle(Headers(scope=scope)):
            return await PlainTextResponse(REFUSED, 415, {"Connection": "close"})(scope, receive, send)
        await self._app(scope, receive, send)
