"""Gives the event loop to one request after the other, so that others are seen, and told no, every few milliseconds.

Without turns, all requests that arrived during one turn of the event loop work in the next one. Under load such a turn
lasts as long as all of them together: what arrives meanwhile waits in the kernel, where nothing counts its time, and
answers that are ready go out at its end.
"""

from __future__ import annotations

import asyncio
import time

from serving.errors import OverloadedError
from serving.load.admission import MESSAGES, Admission, share_of
from serving.load.turns import Turn
from serving.watch.record import RequestRecord

# libuv accepts one connection a turn of the event loop. So many turns in a row may bring nothing but a connection each.
MOST_LOOKS = 16


class LoopTurns:
    """Turns of the requests that `admission` has let in."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self._turns = admission, admission.turns
        self._waiters: dict[Turn, asyncio.Future[bool]] = {}
        self._passes_on = False
        self._new_connection, self._looks = False, 0

    def connection_made(self) -> None:
        """A connection was accepted. Others may wait: the event loop looks for them before the next request works."""
        self._new_connection = True

    async def take(self, record: RequestRecord, kind: str, units: float) -> None:
        """Wait until this request may work. `units`: its work, relative to others of its `kind`.

        The budget must be known. Raises OverloadedError if the answer could no longer be on time.
        """
        budget, now_s = record.budget, time.monotonic()
        assert budget is not None, "an endpoint reads the budget before it works"
        self._admission.saw_budget(budget.budget_ms, now_s)
        turn = Turn(kind, units, record.own_start_s, budget.budget_ms)
        if not self._turns.enter(turn, now_s, share_of(record.priority), at_once=not self._new_connection):
            raise self._refusal(record)
        record.turn = turn
        if not self._turns.waiting:
            return
        if not self._turns.taken:
            self._pass_on_soon()
        waiter = self._waiters[turn] = asyncio.get_running_loop().create_future()
        in_time = await waiter
        record.timings.end("admission")
        if not in_time:
            record.turn = None
            raise self._refusal(record)

    def release(self, record: RequestRecord) -> None:
        """The request's work is done, or it ends. Those that wait work after the next look of the event loop."""
        turn, record.turn = record.turn, None
        if turn is None:
            return
        self._waiters.pop(turn, None)
        if self._turns.end(turn, time.monotonic()) and self._turns.waiting:
            self._pass_on()

    def _pass_on_soon(self) -> None:
        if not self._passes_on:
            self._passes_on = True
            asyncio.get_running_loop().call_soon(self._pass_on)

    def _pass_on(self) -> None:
        self._passes_on = False
        if self._turns.taken:
            return
        if self._new_connection and self._looks < MOST_LOOKS:
            self._new_connection = False
            self._looks += 1
            self._pass_on_soon()
            return
        self._new_connection, self._looks = False, 0
        granted, late = self._turns.next(time.monotonic())
        for turn in late:
            self._wake(turn, False)
        for turn in granted:
            self._wake(turn, True)

    def _wake(self, turn: Turn, in_time: bool) -> None:
        waiter = self._waiters.pop(turn, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(in_time)

    def _refusal(self, record: RequestRecord) -> OverloadedError:
        self._admission.shed[record.priority] += 1
        return OverloadedError(MESSAGES["deadline"], "deadline")
