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
    """The best run that kept the objective; `goodput_per_s` 0 and `result` None where none did."""

    rate_per_s: float
    goodput_per_s: float
    result: dict[str, Any] | None
    runs: int


def highest_rate(attempt: Try, start_per_s: float, *, precision: float = 1.06, most: int = MAX_RUNS) -> Found:
    """Bisect, in ratios, until the rates that keep and that break the objective are within `precision`.

    Only what breaks it twice in a row breaks it: on a shared machine a moment of somebody else's work is no limit of
    the service. An invalid run, in which the generator fell behind, counts as one that breaks it: nothing is claimed
    beyond what the generator can send.
    """
    kept, broken, rate = 0.0, math.inf, start_per_s
    best = Found(0.0, 0.0, None, 0)
    for runs in range(1, most + 1):
        result = attempt(rate)
        result = result if result["passed"] else attempt(rate)
        goodput = result["figures"]["goodput_per_s"]
        if result["passed"]:
            kept = rate
            if goodput > best.goodput_per_s:
                best = Found(rate, goodput, result, runs)
        else:
            broken = rate
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
    return Found(best.rate_per_s, best.goodput_per_s, best.result, runs)
