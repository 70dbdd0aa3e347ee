"""Stops a server without losing requests: it sends its clients away before it ends.

Kubernetes removes a pod from its Service and stops it at the same time, so a client with an open connection may send a
request just when the server closes it. Therefore a hook creates a file some seconds before the stop. From then on the
server is not ready, and each answer closes its connection.
"""

from __future__ import annotations

import time
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CHECK_INTERVAL_S = 0.1


class Draining:
    """Whether `file` was made or touched after this object; always False without a file.

    It looks for the file ten times a second at most. One that is as it was is ignored: a container that restarted in
    place left it. The file's time is compared with no clock, which may have been set back.
    """

    def __init__(self, file: str | None) -> None:
        self._file = Path(file) if file else None
        self._before = _form_of(self._file) if self._file else None
        self._began, self._next_look_s = False, 0.0

    def __call__(self) -> bool:
        if self._file is not None and (now := time.monotonic()) >= self._next_look_s:
            form = _form_of(self._file)
            self._began, self._next_look_s = form not in (None, self._before), now + CHECK_INTERVAL_S
        return self._began


def _form_of(file: Path) -> tuple[int, int] | None:
    """What differs once a file was made anew or touched; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


class LastAnswers:
    """ASGI middleware that closes the connection after each answer while `draining`."""

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
