"""The short way to an endpoint, past the server's middleware.

BentoML's middleware keeps a timer and the request's context for each request until its own timeout (5 KB each) and,
left on, opens three spans and counts what our own metrics count too; together they cost more than a small model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.draining import Draining, LastAnswers

Handler = Callable[[Request], Awaitable[Response]]


class FastPath:
    """POSTs to the paths of `handlers` are answered here, and what those raise is the server's 500; all else goes on to
    `rest`.
    """

    def __init__(self, rest: ASGIApp, handlers: Mapping[str, Handler]) -> None:
        self._rest, self._handlers = rest, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            handler = self._handlers.get(scope["path"])
            if handler is not None:
                response = await handler(Request(scope, receive))
                return await response(scope, receive, send)
        await self._rest(scope, receive, send)


def shorten(service: Any, handlers: Mapping[str, Handler], draining: Draining) -> None:
    """Answer these POSTs of a service before BentoML's middleware, in its own application: the one that it gives every
    service for calls to itself. While it is `draining`, each answer is the last one on its connection.
    """
    app = service.to_async.app
    app.middleware_stack = LastAnswers(FastPath(app.middleware_stack, handlers), draining)
