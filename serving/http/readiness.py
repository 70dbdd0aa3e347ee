"""GET /readyz and GET /livez: whether a process should get requests, and whether it runs.

A process is ready when all that it does before its first request has ended, until it drains. Neither an expert that
goes away later nor load changes that: without an expert the screen still answers, and a process that sheds still
answers what it can. To take all processes away then would turn degraded answers into none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from serving.http.draining import Draining
from serving.http.fast_path import Endpoint

STARTUP_FAILURE = 3
"""Exit status of a process that could not get ready; uvicorn ends with the same."""

logger = logging.getLogger("sieve")


class Readiness:
    """Whether this process should get requests. Nothing here waits for another process."""

    def __init__(self, draining: Draining) -> None:
        self._draining = draining
        self.serves = ""
        """What /readyz says of a process that is ready: the variant and the device of an expert."""
        self._prepared = True
        self._preparing: asyncio.Task[None] | None = None

    def begin(self, preparation: Coroutine[None, None, None]) -> None:
        """Run `preparation` beside the server; the process is ready when it ends.

        What it raises is logged, and ends the process: nobody would see a task that failed, and the process would never
        be ready. SystemExit leaves the event loop also from a task.
        """
        self._prepared = False
        self._preparing = asyncio.get_running_loop().create_task(self._prepare(preparation))

    def reason_against(self) -> str:
        """Why the process should get no requests, in a few words; empty if it should."""
        if self._draining():
            return "draining: the process is about to stop"
        return "" if self._prepared else "starting: the experts are being warmed up"

    async def _prepare(self, preparation: Coroutine[None, None, None]) -> None:
        try:
            await preparation
        except Exception:
            logger.critical("the process cannot get ready, and ends", exc_info=True)
            raise SystemExit(STARTUP_FAILURE) from None
        self._prepared = True


def probes(readiness: Readiness) -> dict[str, Endpoint]:
    """The endpoints of /readyz and /livez, for the fast path."""

    async def readyz(_request: Request) -> Response:
        against = readiness.reason_against()
        return PlainTextResponse(f"{against or readiness.serves}\n", 503 if against else 200)

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("\n")

    return {"/readyz": readyz, "/livez": livez}
