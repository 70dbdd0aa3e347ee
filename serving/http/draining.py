"""Leaving without losing a request: a server that will be stopped says so first, and its clients go elsewhere.

Kubernetes takes a pod out of its Service and stops it at the same time, and a client that keeps its connection open may
send a request into the moment in which the server closes it. So a hook makes a file some seconds before the stop; from
then on the server is not ready, and each answer closes its connection.
"""

from __future__ import annotations

import time
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOK_S = 0.1
# A file system's clock is read in steps.
CLOCK_S = 0.02


class Draining:
    """Whether `file` was made since this process began; it is looked for ten times a second at most. Without a file:
    never. An older one was left by a container that was started again in its place.
    """

    def __init__(self, file: str | None) -> None:
        self._file = Path(file) if file else None
        self._since_s = time.time() - CLOCK_S
        self._began, self._next_look_s = False, 0.0

    def __call__(self) -> bool:
        if self._file is not None and (now := time.monotonic()) >= self._next_look_s:
            self._began, self._next_look_s = self._is_new(self._file), now + LOOK_S
        return self._began

    def _is_new(self, file: Path) -> bool:
        try:
            return file.stat().st_mtime >= self._since_s
        except FileNotFoundError:
            return False


class LastAnswers:
    """While `draining`, every answer of `app` is the last one on its connection."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app, self._draining = app, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._draining():
            return await self._app(scope, receive, send)

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, closing)
