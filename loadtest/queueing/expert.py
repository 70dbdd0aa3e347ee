"""One expert in virtual time: what it answers inside the budget, and how busy that makes it.

It is the best that a single thread can do, which is what the service aims at: it never begins what it cannot end in
time, and under overload it leaves out the oldest where that makes room for a larger batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from loadtest.errors import LoadTestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds of a run: `base_ms` and `item_ms` for each of at most `largest` items."""

    base_ms: float
    item_ms: float
    largest: int = 32

    def of(self, size: int) -> float:
        """The time of a run with so many items."""
        return self.base_ms + self.item_ms * size

    @property
    def best_ms(self) -> float:
        """The time for each item in the largest batch."""
        return self.of(self.largest) / self.largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What became of the escalations to one expert, per second, and how it spent its time.

    `missed_per_s` could not be answered inside the budget. `busy` is the share of the time that runs took, `work` the
    share that their items would have taken in the largest batches.
    """

    answered_per_s: float
    missed_per_s: float
    busy: float
    work: float


def serve(cost: Cost, rate_per_s: float, *, budget_ms: float = 50.0, seconds: float = 30.0, seed: int = 1) -> Served:
    """Serve Poisson arrivals, each with `budget_ms` for its answer. Raises LoadTestError where no run fits into it."""
    if cost.of(1) > budget_ms:
        raise LoadTestError(f"a run must fit into the budget, got {cost.of(1):g} ms for {budget_ms:g} ms")
    rng = np.random.default_rng(seed)
    arrivals = deque(_poisson(rng, rate_per_s, seconds * 1e3))
    waiting: deque[float] = deque()
    now, answered, missed, busy_ms = 0.0, 0, 0, 0.0
    while arrivals or waiting:
        if not waiting:
            now = max(now, arrivals[0])
        while arrivals and arrivals[0] <= now:
            waiting.append(arrivals.popleft())
        skipped, size = _batch(cost, waiting, now - budget_ms)
        missed += skipped
        for _ in range(skipped + size):
            waiting.popleft()
        if size:
            answered += size
            busy_ms += cost.of(size)
            now += cost.of(size)
    return Served(
        answered_per_s=answered / seconds,
        missed_per_s=missed / seconds,
        busy=min(1.0, busy_ms / (seconds * 1e3)),
        work=min(1.0, answered * cost.best_ms / (seconds * 1e3)),
    )


def _poisson(rng: np.random.Generator, rate_per_s: float, until_ms: float) -> Iterable[float]:
    count = rng.poisson(rate_per_s * until_ms / 1e3)
    return [float(at) for at in np.sort(rng.uniform(0.0, until_ms, count))]


def _batch(cost: Cost, waiting: deque[float], latest_ms: float) -> tuple[int, int]:
    """How many of the oldest are given up, and how many after them go into the next run.

    A run that takes `ms` answers those in time that arrived at `latest_ms + ms` or later. The run is taken that answers
    most for its time, less those that a shorter run could still have answered; of equal ones the shortest. Those beyond
    one more full run are lost in any case.
    """
    hopeless = sum(arrived < latest_ms + cost.of(1) for arrived in waiting)
    surplus = max(0, len(waiting) - hopeless - 2 * cost.largest)
    best, best_value, given_up = (hopeless, 0), 0.0, hopeless
    for size in range(1, cost.largest + 1):
        while given_up < len(waiting) and waiting[given_up] < latest_ms + cost.of(size):
            given_up += 1
        if given_up + size > len(waiting):
            break
        value = (size - max(0, given_up - hopeless - surplus)) / cost.of(size)
        if value > best_value * (1 + 1e-9):
            best, best_value = (given_up, size), value
    return best
