"""Equal escalations in flight join: one call to the expert answers all of them, each inside its own deadline.

A request takes nothing of another one but the expert's logits for an equal item. Where those do not come, because the
request that asked for them was too late, was refused, or the call failed, it asks by itself with what is left of its
own time. An item stays in its call while anybody waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import StageError
from serving.expert.call import Asked, Escalated
from serving.trace import Trace

# Whoever has asked keeps the answer a few turns of the event loop after it is there, and until then it can be joined.
LINGER_S = 0.02


class Submit(Protocol):
    """Puts items into the queue of an expert, as `Escalations.submit` does."""

    def __call__(
        self, items: Sequence[Array], deadline_s: float, trace: Trace | None = None, asked: Asked | None = None
    ) -> asyncio.Future[Escalated]: ...


class _Flight:
    """Items that were submitted together, by their keys, and how many requests wait for them."""

    __slots__ = ("answer", "asked", "deadline_s", "places", "waiting")

    def __init__(
        self, answer: asyncio.Future[Escalated], keys: Sequence[bytes], deadline_s: float, asked: Asked
    ) -> None:
        self.answer, self.deadline_s, self.asked = answer, deadline_s, asked
        self.places = {key: place for place, key in enumerate(keys)}
        self.waiting = 0

    def serves(self, key: bytes, deadline_s: float) -> bool:
        """Whether a request with this deadline is answered here as early as if it asked by itself.

        In the queue an earlier deadline goes first. A call that was sent is ahead of all that were not.
        """
        if self.answer.done():
            return self.row(key) is not None
        return self.asked.sent or self.deadline_s <= deadline_s

    def row(self, key: bytes) -> Logits | None:
        """The logits of an item when the call has ended; None where it, or the expert on this item, has failed."""
        if self.answer.cancelled() or self.answer.exception() is not None:
            return None
        row: Logits = self.answer.result().logits[self.places[key]]
        return None if np.isnan(row).any() else row

    def entered(self) -> _Flight:
        """A request waits for the answer from now on, until it leaves."""
        self.waiting += 1
        return self

    def leave(self) -> None:
        """A request no longer waits. Without anybody the items leave the queue."""
        self.waiting -= 1
        if not self.waiting:
            self.answer.cancel()


class JoinedEscalations:
    """Asks the expert through `submit`, once for all equal items in flight. One event loop uses it.

    `clock` gives seconds of a monotonic clock.
    """

    def __init__(self, submit: Submit, clock: Callable[[], float] = time.monotonic) -> None:
        self._submit, self._clock = submit, clock
        self._flights: dict[bytes, _Flight] = {}

    @property
    def in_flight(self) -> int:
        """How many different items are asked for."""
        return len(self._flights)

    async def ask(
        self, items: Sequence[Array], keys: Sequence[bytes], deadline_s: float, trace: Trace | None, asked: Asked
    ) -> Escalated:
        """The expert's answer to `items`, of which those with equal `keys` are equal.

        `asked` is told whether a call began that this request asked for. Raises the StageError of the request's own
        call. Cancelling takes out of the queue what nobody else waits for.
        """
        begin_s = self._clock()
        wanted = dict(zip(keys, items, strict=True))
        rows: dict[bytes, Logits] = {}
        joined: set[bytes] = set()
        waits: list[_Flight] = []
        own: list[_Flight] = []
        try:
            while wanted:
                flights = self._joinable(wanted, deadline_s)
                waits += [flight.entered() for flight in {*flights.values()}]
                alone = {key: item for key, item in wanted.items() if key not in flights}
                if alone:
                    own.append(self._begin(alone, deadline_s, trace))
                    waits.append(own[-1].entered())
                given = {key: await _row(flight, key) for key, flight in flights.items()}
                rows |= {key: row for key, row in given.items() if row is not None}
                joined.update(rows)
                wanted = {key: wanted[key] for key in flights if key not in rows}
            for flight in own:
                logits = (await asyncio.shield(flight.answer)).logits
                rows |= {key: logits[place] for key, place in flight.places.items()}
        finally:
            asked.sent = any(flight.asked.sent for flight in own)
            for flight in waits:
                flight.leave()
        return _together(keys, rows, joined, own, (self._clock() - begin_s) * 1e3)

    def _joinable(self, keys: Mapping[bytes, Array], deadline_s: float) -> dict[bytes, _Flight]:
        there = {key: self._flights[key] for key in keys if key in self._flights}
        return {key: flight for key, flight in there.items() if flight.serves(key, deadline_s)}

    def _begin(self, items: Mapping[bytes, Array], deadline_s: float, trace: Trace | None) -> _Flight:
        """Ask by ourselves. Of two flights with one item, the later one is joined: its deadline is the earlier one."""
        keys, asked = list(items), Asked()
        flight = _Flight(self._submit(list(items.values()), deadline_s, trace, asked), keys, deadline_s, asked)
        self._flights.update(dict.fromkeys(keys, flight))
        flight.answer.add_done_callback(partial(self._ended, keys))
        return flight

    def _ended(self, keys: Sequence[bytes], answer: asyncio.Future[Escalated]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._forget(keys, answer)
        else:
            asyncio.get_running_loop().call_later(LINGER_S, self._forget, keys, answer)

    def _forget(self, keys: Sequence[bytes], answer: asyncio.Future[Escalated]) -> None:
        for key in keys:
            if (flight := self._flights.get(key)) is not None and flight.answer is answer:
                del self._flights[key]


async def _row(flight: _Flight, key: bytes) -> Logits | None:
    """The logits of an item that another request has asked for, once they are there; None where it has failed."""
    with suppress(StageError):
        await asyncio.shield(flight.answer)
    return flight.row(key)


def _together(
    keys: Sequence[bytes], rows: Mapping[bytes, Logits], joined: set[bytes], own: Sequence[_Flight], took_ms: float
) -> Escalated:
    logits = np.stack([rows[key] for key in keys])
    # The second of two equal items in one request has joined the first.
    places = frozenset(place for place, key in enumerate(keys) if key in joined or keys.index(key) != place)
    if not own:
        return Escalated(logits, took_ms, 0.0, 0.0, places)
    slowest = max((flight.answer.result() for flight in own), key=lambda each: each.queue_ms + each.expert_ms)
    return Escalated(logits, slowest.queue_ms, slowest.hop_ms, slowest.expert_ms, places)
