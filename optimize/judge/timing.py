"""Times calls in turn, in one process and on one thread: medians with their quartiles.

Calls that take turns share whatever else the machine is doing, so their ratios hold when its speed drifts.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch

from optimize.progress import progress

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one call at batch size 1: median and the quartiles around it, over `rounds` calls."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    rounds: int
    item_ms_at_8: float | None = None
    """Milliseconds an item in batches of 8, as they are served; None where items come one at a time."""

    @property
    def cost_ms(self) -> float:
        """What an item costs as it is served: alone, and as often in a batch, where it has one (geometric mean)."""
        return self.median_ms if self.item_ms_at_8 is None else math.sqrt(self.median_ms * self.item_ms_at_8)

    def as_dict(self) -> dict[str, float]:
        return {key: round(value, 4) for key, value in asdict(self).items() if value is not None}


def alternate(calls: Mapping[str, Callable[[int], object]], rounds: int, warmup: int = 5) -> dict[str, Latency]:
    """Latency of each call, timed once a round, in turn.

    A call receives the number of the round, to choose its input. The first `warmup` rounds are not counted. PyTorch
    runs on one thread meanwhile.
    """
    return {name: _summary(values) for name, values in times_in_turn(calls, rounds, warmup).items()}


def times_in_turn(
    calls: Mapping[Key, Callable[[int], object]],
    rounds: int,
    warmup: int = 5,
    *,
    torch_threads: int = 1,
    shuffle_seed: int | None = None,
    title: str = "latency, in turn",
) -> dict[Key, list[float]]:
    """Milliseconds of each call, one a round; see `alternate`.

    With `shuffle_seed` each round has its own order, and each call runs once untimed before it is timed. No call then
    profits from what another left in the caches.
    """
    order, rng = list(calls), random.Random(shuffle_seed)  # nosec B311 # no secret
    threads = torch.get_num_threads()
    torch.set_num_threads(torch_threads)
    times: dict[Key, list[float]] = {name: [] for name in calls}
    try:
        with progress(title, total=(rounds + warmup) * len(calls)) as advance:
            for number in range(rounds + warmup):
                if shuffle_seed is not None:
                    rng.shuffle(order)
                for name in order:
                    call = calls[name]
                    if shuffle_seed is not None:
                        call(number)
                    begin = time.perf_counter()
                    call(number)
                    if number >= warmup:
                        times[name].append((time.perf_counter() - begin) * 1e3)
                    advance(1)
    finally:
        torch.set_num_threads(threads)
    return times


def _summary(values: list[float]) -> Latency:
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Latency(median, lower, upper, len(values))
