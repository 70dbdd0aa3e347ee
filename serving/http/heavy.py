"""Runs heavy work in threads, when its turn comes (`serving.load.heavy`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal, TypeVar

from starlette.requests import ClientDisconnect

from serving.cascade.cascade import Gone
from serving.errors import OverloadedError
from serving.load.heavy import FairPlaces, HeavyWork, Verdict
from serving.load.memory import MemoryLimit

T = TypeVar("T")

REFUSALS: dict[Literal["deadline", "memory"], str] = {
    "deadline": "so much heavy work waits that this would be late; come back after a while, or send a longer budget",
    "memory": "the memory for uploads is in use; come back after a while, or send a smaller image",
}


class HeavyRunner:
    """Runs pieces of heavy work, a few at a time. One event loop uses it."""

    def __init__(self, memory: MemoryLimit) -> None:
        self._places = FairPlaces(memory)
        self._turns: dict[HeavyWork, asyncio.Future[Verdict | Literal["gone"]]] = {}

    async def run(self, work: HeavyWork, do: Callable[[], T], gone: Gone, *, keep: bool = False) -> T:
        """The result of `do`, from a thread.

        To `keep` the place means that the work goes on elsewhere: the caller then calls `end`. Raises OverloadedError
        when the work can no longer be on time or finds no memory, ClientDisconnect when `gone` returns while it waits.
        """
        verdict: Verdict | Literal["gone"] = self._places.enter(work, time.monotonic())
        ran = False
        try:
            if verdict == "waits":
                verdict = await self._turn(work, gone)
            if verdict == "gone":
                raise ClientDisconnect
            if verdict == "deadline" or verdict == "memory":
                raise OverloadedError(REFUSALS[verdict], verdict)
            result = await asyncio.to_thread(do)
            ran = True
            return result
        finally:
            if not (ran and keep):
                self.end(work, ran=ran)

    def end(self, work: HeavyWork, *, ran: bool) -> None:
        """The work has ended, or no longer waits. If it `ran`, its time teaches what such work takes."""
        self._turns.pop(work, None)
        self._places.leave(work, time.monotonic(), ran=ran)
        self.start_next()

    def start_next(self) -> None:
        """Start the work whose turn it is. Call this when memory has become free."""
        for work, verdict in self._places.next(time.monotonic()):
            self._settle(work, verdict)

    async def _turn(self, work: HeavyWork, gone: Gone) -> Verdict | Literal["gone"]:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Verdict | Literal["gone"]] = loop.create_future()
        self._turns[work] = turn
        wait_s = self._places.latest_start_s(work) - time.monotonic()
        timer = loop.call_later(max(0.0, wait_s), self._settle, work, "deadline")
        hung_up = asyncio.ensure_future(gone())
        hung_up.add_done_callback(lambda _: self._settle(work, "gone"))
        try:
            return await turn
        finally:
            timer.cancel()
            hung_up.cancel()

    def _settle(self, work: HeavyWork, verdict: Verdict | Literal["gone"]) -> None:
        turn = self._turns.pop(work, None)
        if turn is not None and not turn.done():
            turn.set_result(verdict)
