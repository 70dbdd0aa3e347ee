"""Which of the escalations that wait go to the expert in the next call. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar

from serving.load.forecast import Forecast, Times, Waiting, step

Entry = TypeVar("Entry", bound=Waiting)
# Of two batches with nearly the same answers a millisecond, the one with the older escalations goes.
NEARLY = 0.97


@dataclass(slots=True)
class NextBatch(Generic[Entry]):
    """The queue, divided: `batch` goes now, `late` can no longer keep its deadline, `rest` waits on.

    `size` is the number of items in the batch, `length` that of the longest item.
    """

    batch: list[Entry] = field(default_factory=list)
    late: list[Entry] = field(default_factory=list)
    rest: list[Entry] = field(default_factory=list)
    size: int = 0
    length: int = 0


def next_batch(waiting: Iterable[Entry], now_s: float, free_s: float, forecast: Forecast) -> NextBatch[Entry]:
    """Divide the queue for a call that is sent at `now_s` to an expert that can start it at `free_s`.

    The escalation with the earliest deadline goes, with others of like length, as many as this deadline allows. But if
    not all that wait can be answered in time, one call after the other, then those go that give the most answers a
    millisecond, even where older ones must be left behind. In the end the expert is worth its capacity.
    """
    formed: NextBatch[Entry] = NextBatch()
    possible, formed.late = sifted(waiting, now_s, free_s, forecast)
    if not possible:
        return formed
    lanes: dict[int, _Lane[Entry]] = {}
    for entry in possible:
        lane = lanes.get(step(entry.length))
        if lane is None:
            most = forecast.most_items(entry.length)
            lane = lanes[step(entry.length)] = _Lane(forecast.times(entry.length), now_s, most)
        lane.entries.append(entry)
    lane = lanes[step(possible[0].length)]
    start = 0 if _all_in_time(lanes.values(), free_s) else lane.best_start(free_s)
    formed.batch, formed.size = lane.filled(start, free_s)
    formed.length = max(entry.length for entry in formed.batch)
    taken = set(map(id, formed.batch))
    left = (entry for entry in possible if id(entry) not in taken)
    formed.rest, late = sifted(left, now_s, lane.times.end_s(now_s, free_s, formed.size), forecast)
    formed.late += late
    return formed


def sifted(
    waiting: Iterable[Entry], now_s: float, free_s: float, forecast: Forecast
) -> tuple[list[Entry], list[Entry]]:
    """Those that an expert, free at `free_s`, may still answer in time, the earliest deadline first; and the others.

    Where even calls of the best size could not answer all, the ones with the earliest deadlines are given up: whatever
    could be done for one of them can be done for a later one.
    """
    possible: deque[Entry] = deque()
    late: list[Entry] = []
    known: dict[int, tuple[Times, float]] = {}
    work_s = 0.0
    for entry in sorted(waiting, key=attrgetter("deadline_s")):
        of_length = known.get(entry.length)
        if of_length is None:
            of_length = known[entry.length] = forecast.times(entry.length), forecast.least_s(entry.length)
        times, least_s = of_length
        if times.end_s(now_s, free_s, entry.size) > entry.deadline_s:
            late.append(entry)
            continue
        possible.append(entry)
        work_s += entry.size * least_s
        while free_s + work_s > entry.deadline_s and len(possible) > 1:
            oldest = possible.popleft()
            work_s -= oldest.size * known[oldest.length][1]
            late.append(oldest)
    return list(possible), late


@dataclass(slots=True)
class _Lane(Generic[Entry]):
    """Escalations of like length, the earliest deadline first, for calls that are sent at `now_s`."""

    times: Times
    now_s: float
    largest: int
    entries: list[Entry] = field(default_factory=list)

    def filled(self, start: int, free_s: float) -> tuple[list[Entry], int]:
        """The batch with the entry at `start` and those after it that fit and keep its deadline, and its size."""
        first = self.entries[start]
        batch, size = [first], first.size
        for entry in self.entries[start + 1 :]:
            if size == self.largest:
                break
            together = size + entry.size
            if together <= self.largest and self.times.end_s(self.now_s, free_s, together) <= first.deadline_s:
                batch.append(entry)
                size = together
        return batch, size

    def counted(self, start: int, end: int, size: int, free_s: float) -> tuple[int, int]:
        """Where a batch from `start` on ends that already reaches to `end` with `size` items, and its size then."""
        deadline_s = self.entries[start].deadline_s
        while end < len(self.entries) and (together := size + self.entries[end].size) <= self.largest:
            if self.times.end_s(self.now_s, free_s, together) > deadline_s:
                break
            end, size = end + 1, together
        return end, size

    def best_start(self, free_s: float) -> int:
        """Where the batch starts that has the most answers a millisecond."""
        rates: list[float] = []
        end = size = 0
        begin_s = max(self.now_s, free_s)
        for start, first in enumerate(self.entries):
            if end == start:
                end, size = start + 1, first.size
            end, size = self.counted(start, end, size, free_s)
            rates.append(size / max(1e-9, self.times.end_s(self.now_s, free_s, size) - begin_s))
            size -= first.size
        least = NEARLY * max(rates)
        return next(start for start, rate in enumerate(rates) if rate >= least)


def _all_in_time(lanes: Collection[_Lane[Entry]], free_s: float) -> bool:
    """Whether all keep their deadlines if each call takes the earliest deadline and what it allows."""
    places = {id(lane): 0 for lane in lanes}
    left = [lane for lane in lanes if lane.entries]
    while left:
        lane = min(left, key=lambda lane: lane.entries[places[id(lane)]].deadline_s)
        place = places[id(lane)]
        end, size = lane.counted(place, place, 0, free_s)
        if size == 0:
            return False
        free_s, places[id(lane)] = lane.times.end_s(lane.now_s, free_s, size), end
        left = [lane for lane in left if places[id(lane)] < len(lane.entries)]
    return True
