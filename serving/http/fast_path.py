"""Answers POSTs and probes before BentoML's middleware sees them.

That middleware keeps a timer and the request's context alive until its own timeout (5 KB for each request). Unless
switched off, it also opens three spans and counts what our own metrics count. Together they cost more than a small
model. BentoML's own /readyz asks the process of each expert, for 5 seconds at most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.around import surrounded, taken_out
from serving.http.draining import Draining, LastAnswers

Endpoint = Callable[[Request], Awaitable[Response]]
"""Answers a request, as a Starlette route takes it."""


class QuickHeaders(Headers):
    """Headers in a dict. Starlette's own go through all of them for each one that is looked up."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._list)}

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower()]

    def __contains__(self, key: Any) -> bool:
        return key.lower() in self._first

    def get(self, key: str, default: Any = None) -> Any:
        """The value of this name, the first if there are several."""
        return self._first.get(key.lower(), default)


class QuickRequest(Request):
    """A request with `QuickHeaders`."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self._headers = QuickHeaders(scope)


class FastPath:
    """Answers POSTs to the addresses of `posts` and GETs to those of `probes`; passes everything else on to `app`.

    What an endpoint raises reaches the server, which answers 500.
    """

    def __init__(
        self, app: ASGIApp, posts: Mapping[str, Endpoint], probes: Mapping[str, Endpoint] | None = None
    ) -> None:
        self._app = app
        # A load balancer may probe with HEAD; the server leaves the body of its answer out.
        self._by_method = {"POST": posts, "GET": probes or {}, "HEAD": probes or {}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoints = self._by_method.get(scope["method"])
            endpoint = endpoints.get(scope["path"]) if endpoints else None
            if endpoint is not None:
                response = await endpoint(QuickRequest(scope, receive))
                return await response(scope, receive, send)
        await self._app(scope, receive, send)


def install_fast_path(
    app: Starlette,
    posts: Mapping[str, Endpoint],
    draining: Draining,
    probes: Mapping[str, Endpoint] | None = None,
    behind: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> None:
    """Put a `FastPath` in front of BentoML's middleware in `app`, which has started.

    Connections are closed while `draining`. `behind` puts all of it behind a gate.
    The middleware is made anew, so that it knows of exception handlers that were added since. What is not BentoML's
    own, and CORS, surrounds the fast path too (`serving.http.around`).
    """
    if app.middleware_stack is None:
        raise RuntimeError("the application has not started: it has no middleware stack yet")
    outside = taken_out(app)
    whole = behind(FastPath(app.build_middleware_stack(), posts, probes))
    app.middleware_stack = LastAnswers(surrounded(whole, outside), draining)
