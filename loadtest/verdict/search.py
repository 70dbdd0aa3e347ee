"""The highest goodput at which a service keeps its objective: short open-loop runs at rates that close in on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FACTOR = 1.6
"""How the rate grows while the objective is kept, and shrinks while it is not, until one of each is known."""
MAX_RUNS = 8

Try = Callable[[float], dict[str, Any]]
"""A run at a rate: its result as `loadtest.run.measured` gives it."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best run that kept the objective; `goodput_per_s` 0 and `result` None where none did. `broken`: the run at
    the lowest rate that broke it.
    """

    rate_per_s: float
    goodput_per_s: float
    result: dict[str, Any] | None
    runs: int
    first: dict[str, Any]
    broken: dict[str, Any] | None


def highest_rate(
    attempt: Try, start_per_s: float, *, precision: float = 1.06, most: int = MAX_RUNS, or_give_up: bool = False
) -> Found:
    """Bisect, in ratios, until the rates that keep and that break the objective are within `precision`.

    Only what breaks it twice in a row breaks it: on a shared machine a moment of somebody else's work is no limit of
    the service. An invalid run, in which the generator fell behind, counts as one that breaks it: nothing is claimed
    beyond what the generator can send. `or_give_up`: look no further where the first rate is too much already.
    """
    kept, broken, rate = 0.0, math.inf, start_per_s
    best, first, last_broken = (0.0, 0.0, None), None, None
    for runs in range(1, most + 1):
        result = attempt(rate)
        result = result if result["passed"] else attempt(rate)
        first = first or result
        goodput = result["figures"]["goodput_per_s"]
        if result["passed"]:
            kept = rate
            if goodput > best[1]:
                best = (rate, goodput, result)
        else:
            broken, last_broken = rate, result
            if or_give_up and runs == 1:
                break
        if kept and broken / kept < precision:
            break
        if math.isinf(broken):
            rate = kept * FACTOR
        elif kept:
            rate = math.sqrt(kept * broken)
        else:
            rate = broken / FACTOR
        if rate < 0.5:
            break
    assert first is not None
    return Found(*best, runs, first, last_broken)
