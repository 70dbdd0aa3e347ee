"""The highest goodput at which a service keeps its objective: short runs at rates that close in on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from loadtest.verdict.result import Result

FACTOR = 1.6
"""The rate grows by this factor while the objective holds, and shrinks by it while it does not, until both are seen."""
MAX_RUNS = 8
CONFIRMATIONS = 5
"""Rates that are confirmed at most; the last is about half of the first."""
MIN_RATE_PER_S = 0.5

Try = Callable[[float], Result]
"""A run at a rate, in requests a second."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best run that kept the objective: its rate, goodput and result.

    Rate and goodput are 0 and `result` is None where no run kept it, or none that was to confirm it. `runs`: rates
    that were tried. `first`: the first run. `broken`: the run at the lowest rate that broke the objective.
    """

    rate_per_s: float
    goodput_per_s: float
    result: Result | None
    runs: int
    first: Result
    broken: Result | None


def highest_rate(
    attempt: Try,
    start_per_s: float,
    *,
    precision: float = 1.06,
    most: int = MAX_RUNS,
    or_give_up: bool = False,
    confirm: Try | None = None,
) -> Found:
    """Bisect on a logarithmic scale until the rates that keep and that break the objective are within `precision`.

    A rate breaks the objective only when two runs in a row do: on a shared machine, one moment of other work is no
    limit of the service. An invalid run, in which the generator fell behind, counts as broken, so nothing is claimed
    beyond what the generator can send. `most`: rates at most. `or_give_up`: stop where the first rate breaks it.

    The best of several runs was partly lucky, so the search leans to rates that are too high. With `confirm`, a longer
    and stricter run, the rate found must pass once more. Where it does not, lower ones must, by ever larger steps.
    """
    kept, broken, rate = 0.0, math.inf, start_per_s
    best_rate, best_goodput = 0.0, 0.0
    best: Result | None = None
    first: Result | None = None
    last_broken: Result | None = None
    for runs in range(1, most + 1):
        result = attempt(rate)
        result = result if result["passed"] else attempt(rate)
        first = first or result
        if result["passed"]:
            kept = rate
            if (goodput := result["figures"]["goodput_per_s"]) > best_goodput:
                best_rate, best_goodput, best = rate, goodput, result
        else:
            broken, last_broken = rate, result
        given_up = or_give_up and runs == 1 and not result["passed"]
        rate = next_rate(kept, broken)
        if given_up or (kept and broken / kept < precision) or rate < MIN_RATE_PER_S:
            break
    assert first is not None
    found = Found(best_rate, best_goodput, best, runs, first, last_broken)
    return found if confirm is None or best is None else _confirmed(found, confirm, precision)


def _confirmed(found: Found, confirm: Try, precision: float) -> Found:
    """The first of ever lower rates that passes, with the run that confirmed it."""
    rate, broken = found.rate_per_s, found.broken
    for number in range(1, CONFIRMATIONS + 1):
        result = confirm(rate)
        if result["passed"]:
            goodput = result["figures"]["goodput_per_s"]
            return replace(found, rate_per_s=rate, goodput_per_s=goodput, result=result, broken=broken)
        broken = result
        rate /= precision**number
    return replace(found, rate_per_s=0.0, goodput_per_s=0.0, result=None, broken=broken)


def next_rate(kept: float, broken: float) -> float:
    """The rate to try after the highest one that kept an objective, 0 if none did, and the lowest that broke it."""
    if math.isinf(broken):
        return kept * FACTOR
    return math.sqrt(kept * broken) if kept else broken / FACTOR
