"""Requests without end, each over a connection that is kept as long as the server lets it; none is made twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.conftest import messages
from tests.server import LIMIT_S
from tests.service.test_api import digit

TEXTS = [text for text, _ in messages(64, seed=11)]


class Load:
    """What came back, in one phase after the other: (kind, status, stage, degraded), or (kind, error)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._phase: Counter[Any] = Counter()
        self.all: Counter[Any] = Counter()

    def phase(self) -> None:
        """Forget what came back up to now, but in `all`."""
        self._phase = Counter()

    def seen(self, kind: str) -> Counter[Any]:
        """In this phase: how often each (status, stage, degraded), or (error,)."""
        return Counter({what[1:]: n for what, n in self._phase.items() if what[0] == kind})

    def failures(self) -> dict[Any, int]:
        """Of all: what is no answer."""
        return {what: n for what, n in self.all.items() if what[1] != 200}

    async def until(self, kind: str, degraded: str | None, count: int, limit_s: float = LIMIT_S) -> None:
        """Until so many answers of this kind have come in this phase."""
        async with asyncio.timeout(limit_s):
            while sum(n for what, n in self.seen(kind).items() if len(what) == 3 and what[2] == degraded) < count:
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def running(self, text_clients: int, image_clients: int = 0, budget_ms: int = 1000) -> AsyncIterator[None]:
        ending = asyncio.Event()
        png = digit(0)

        async def one(kind: str, number: int) -> None:
            async with httpx.AsyncClient(base_url=self.url, timeout=20) as client:
                while not ending.is_set():
                    number += 1
                    try:
                        if kind == "text":
                            sent = {"text": TEXTS[number % len(TEXTS)], "budget_ms": budget_ms}
                            reply = await client.post("/classify_text", json=sent)
                        else:
                            form = {"budget_ms": str(budget_ms)}
                            reply = await client.post("/classify_image", files={"image": png}, data=form)
                        said = reply.json()
                        what: tuple[Any, ...] = (kind, reply.status_code, said.get("stage"), said.get("degraded"))
                    except httpx.HTTPError as error:
                        what = (kind, type(error).__name__)
                    self._phase[what] += 1
                    self.all[what] += 1
                    await asyncio.sleep(0.01)

        kinds = ["text"] * text_clients + ["image"] * image_clients
        tasks = [asyncio.create_task(one(kind, n)) for n, kind in enumerate(kinds)]
        try:
            yield
        finally:
            ending.set()
            await asyncio.gather(*tasks)
