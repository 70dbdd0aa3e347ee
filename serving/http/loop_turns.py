"""Gives the event loop to one request at a time, so that others are seen, and told no, between two pieces of work.

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
MOST_LOOKS = 64


class LoopTurns:
    """Turns of the requests that `admission` has let in."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self._turns = admission, admission.turns
        self._waiters: dict[Turn, asyncio.Future[bool]] = {}
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
        was_free = self._turns.free
        if not self._turns.enter(turn, now_s, share_of(record.priority)):
            raise self._refusal(record)
        record.turn = turn
        if was_free:
            return
        waiter = self._waiters[turn] = asyncio.get_running_loop().create_future()
        in_time = await waiter
        record.timings.end("admission")
        if not in_time:
            record.turn = None
            raise self._refusal(record)

    def release(self, record: RequestRecord) -> None:
        """The request's work is done, or it ends. Another one works in the next turn of the event loop."""
        turn, record.turn = record.turn, None
        if turn is None:
            return
        self._waiters.pop(turn, None)
        if self._turns.end(turn, time.monotonic()):
            self._pass_on()

    def _pass_on(self) -> None:
        if self._new_connection and self._looks < MOST_LOOKS:
            self._new_connection = False
            self._looks += 1
            asyncio.get_running_loop().call_soon(self._pass_on)
            return
        self._looks = 0
        turn, late = self._turns.next(time.monotonic())
        for each in late:
            self._wake(each, False)
        if turn is not None:
            self._wake(turn, True)
        else:
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """A turn of the event loop later, those who had arrived meanwhile have been seen."""
        if self._turns.waiting:
            self._pass_on()
        else:
            self._turns.rest()

    def _wake(self, turn: Turn, in_time: bool) -> None:
        waiter = self._waiters.pop(turn, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(in_time)

    def _refusal(self, record: RequestRecord) -> OverloadedError:
        self._admission.shed[record.priority] += 1
        return OverloadedError(MESSAGES["deadline"], "deadline")
