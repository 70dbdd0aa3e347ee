"""Whose heavy work starts next: fair between clients, first in first out for each, and only while it can be on time.

Heavy work is a large image to decode, a long text to tokenise, or a long list of texts to tokenise and screen. Clients
take turns by start-time fair queueing (Goyal, Vin and Cheng 1996): a client that had a large piece of work waits longer
for its next one. Pure: the caller passes the time, in seconds of one monotonic clock.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from serving.load.memory import MemoryLimit

ImageKind = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"]
"""The formats of image files, by Pillow's names: what a pixel takes differs between them."""
Kind = Literal["text", "texts"] | ImageKind
Verdict = Literal["starts", "waits", "deadline", "memory"]
# Milliseconds of one character or pixel, until work of its kind has been timed.
FIRST_RATES_MS: dict[Kind, float] = {
    "text": 1e-3,
    "texts": 1e-3,
    "JPEG": 1e-5,
    "PNG": 1e-5,
    "WEBP": 2.5e-5,
    "GIF": 1e-5,
    "BMP": 1e-5,
    "TIFF": 2e-5,
    "AVIF": 5e-5,
    "HEIF": 5e-5,
}
# Weight of the work that has just ended in the mean of its kind.
WEIGHT = 0.2
PLACES = 2
# More clients than this are forgotten once their turns are over.
KNOWN_CLIENTS = 1_024


@dataclass(eq=False, slots=True, kw_only=True)
class HeavyWork:
    """A piece of work of `units` characters or pixels that holds `size_bytes` while it runs.

    Its result is of no use after `deadline_s`.
    """

    client: str
    kind: Kind
    units: int
    size_bytes: int
    deadline_s: float
    turn_ms: float = field(default=0.0, init=False)
    """The client's turn: work of the smallest starts first."""
    cost_ms: float = field(default=0.0, init=False)
    """By how much it delays the client's next turn."""
    began_s: float = field(default=0.0, init=False)


class FairPlaces:
    """`places` for heavy work within a limit of memory. One event loop uses it."""

    def __init__(self, memory: MemoryLimit, places: int = PLACES) -> None:
        self._memory, self._places = memory, places
        self._rates_ms = dict(FIRST_RATES_MS)
        self._running: set[HeavyWork] = set()
        self._waiting: list[HeavyWork] = []
        # The turn that has come, and the turn that each client's next work has.
        self._turn_ms = 0.0
        self._next_turns_ms: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Pieces of work that wait."""
        return len(self._waiting)

    def expected_ms(self, work: HeavyWork) -> float:
        """What the work takes, by what its kind took before."""
        return work.units * self._rates_ms[work.kind]

    def latest_start_s(self, work: HeavyWork) -> float:
        """When the work must start to end at its deadline."""
        return work.deadline_s - self.expected_ms(work) / 1e3

    def enter(self, work: HeavyWork, now_s: float) -> Verdict:
        """What becomes of new work.

        It starts at once if a place and memory are free and nobody waits. Otherwise it waits, unless it could then no
        longer be on time: `deadline`, or `memory` where memory alone is missing. Work that could never be on time,
        however early it starts, takes a place only while no other runs; so it cannot take them all.
        """
        if now_s > work.deadline_s:
            return "deadline"
        if work.size_bytes > self._memory.capacity:
            return "memory"
        in_time = now_s <= self.latest_start_s(work)
        place = not self._waiting and len(self._running) < (self._places if in_time else 1)
        if place and self._memory.fits(work.size_bytes):
            self._take_turn(work)
            self._start(work, now_s)
            return "starts"
        turn_ms = self._turn_of(work.client)
        if now_s + self._ahead_ms(turn_ms, now_s) / 1e3 > self.latest_start_s(work):
            return "memory" if place else "deadline"
        self._take_turn(work)
        insort(self._waiting, work, key=lambda each: each.turn_ms)
        return "waits"

    def next(self, now_s: float) -> Iterator[tuple[HeavyWork, Literal["starts", "deadline"]]]:
        """The work whose turn it is, with what becomes of it. Call this when a place or memory has become free."""
        while self._waiting and len(self._running) < self._places:
            work = self._waiting[0]
            in_time = now_s <= self.latest_start_s(work)
            if in_time and not self._memory.fits(work.size_bytes):
                return
            del self._waiting[0]
            if in_time:
                self._start(work, now_s)
            else:
                self._give_back_turn(work)
            yield work, "starts" if in_time else "deadline"

    def leave(self, work: HeavyWork, now_s: float, *, ran: bool) -> None:
        """Work has ended, or is no longer wanted. If it `ran`, its time teaches what its kind takes.

        `next` says whose turn it is then.
        """
        if work in self._running:
            self._running.remove(work)
            self._memory.end_work(work.size_bytes)
            if ran:
                rate_ms = (now_s - work.began_s) * 1e3 / work.units
                self._rates_ms[work.kind] += WEIGHT * (rate_ms - self._rates_ms[work.kind])
        elif work in self._waiting:
            self._waiting.remove(work)
            self._give_back_turn(work)
        if not self._running and not self._waiting:
            self._turn_ms = 0.0
            self._next_turns_ms.clear()

    def _start(self, work: HeavyWork, now_s: float) -> None:
        work.began_s = now_s
        self._running.add(work)
        self._memory.begin_work(work.size_bytes)
        self._turn_ms = max(self._turn_ms, work.turn_ms)
        if len(self._next_turns_ms) > KNOWN_CLIENTS:
            later = {client: turn for client, turn in self._next_turns_ms.items() if turn > self._turn_ms}
            self._next_turns_ms = later

    def _turn_of(self, client: str) -> float:
        return max(self._turn_ms, self._next_turns_ms.get(client, 0.0))

    def _take_turn(self, work: HeavyWork) -> None:
        work.turn_ms = self._turn_of(work.client)
        work.cost_ms = self.expected_ms(work)
        self._next_turns_ms[work.client] = work.turn_ms + work.cost_ms

    def _give_back_turn(self, work: HeavyWork) -> None:
        turn_ms = self._next_turns_ms.get(work.client, 0.0) - work.cost_ms
        self._next_turns_ms[work.client] = max(self._turn_ms, turn_ms)

    def _ahead_ms(self, turn_ms: float, now_s: float) -> float:
        """How long a place is still taken by what runs, and by what waits for an earlier turn."""
        running = sum(max(0.0, self.expected_ms(work) - (now_s - work.began_s) * 1e3) for work in self._running)
        waiting = sum(self.expected_ms(work) for work in self._waiting if work.turn_ms <= turn_ms)
        return (running + waiting) / self._places
