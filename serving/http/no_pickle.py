"""No pickle: loading one runs whatever its sender wants.

BentoML's inner services load `application/vnd.bentoml+pickle` for whoever reaches their port; only its entry service
refuses it. It is the one way in (`_bentoml_impl/serde.py`): the parts of a multipart form are read as JSON, and the
`Payload-Container` headers belong to runners, which a service has none of. They are refused all the same.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

RUNNER_HEADERS = ("payload-container", "payload-meta", "batch-size", "buffer-lengths")
REFUSED = "pickle is never loaded here: send raw arrays to /infer, or JSON"


def brings_pickle(headers: Headers) -> bool:
    """Whether a request says of its body, in any of its headers of the kind, that it is a pickle."""
    return any("pickle" in kind.lower() for kind in headers.getlist("content-type")) or any(
        name in headers for name in RUNNER_HEADERS
    )


class NoPickle:
    """Answers a request that brings a pickle with 415, before anybody reads its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and brings_pickle(Headers(scope=scope)):
            return await PlainTextResponse(REFUSED, 415, {"Connection": "close"})(scope, receive, send)
        await self._app(scope, receive, send)
