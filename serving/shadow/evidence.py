"""Intervals for the mean of values -1, 0 and 1 that hold at every moment, however often one looks. Pure.

Whoever bets a share b on the mean being above m has the wealth

    prod(1 + b (X - m)),  0 < b < 1 / (1 + m)

after the values X. With r the true mean of each value given those before it, prod(1 + b (X - m)) / prod(1 + b (r - m))
is a nonnegative martingale that begins at 1, so with probability 1 - delta it never reaches 1 / delta (Ville 1939). The
divisor is at most exp(b sum(r - m)), so wherever the mean of r so far is at most m the wealth is no larger than the
martingale: a wealth of 1 / delta refutes m, also where rates change. The mean of the wealth of several bets, fixed
beforehand, keeps the guarantee. These are the betting confidence sequences of Waudby-Smith and Ramdas ("Estimating
means of bounded random variables by betting", JRSS B 2024). Only the counts of the three values are needed, so those of
several processes add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.audit.betting import last_refuted, mixed

BETS = (0.98, *(2.0**-power for power in range(1, 11)))
"""Shares of the largest bet that can be lost. Small ones win where the three values are mixed, large ones else."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean so far, None without values, and bounds of the true one."""

    mean: float | None
    low: float
    high: float


def interval(plus: int, zero: int, minus: int, delta: float) -> Interval:
    """The mean of so many values 1, 0 and -1: both bounds ever wrong with probability `delta` at most together."""
    count = plus + zero + minus
    mean = (plus - minus) / count if count else None
    return Interval(mean, least(plus, zero, minus, delta / 2), -least(minus, zero, plus, delta / 2))


def share(yes: int, no: int, delta: float) -> Interval:
    """The same of a share: so many values 1 and 0."""
    found = interval(0, yes, no, delta)
    return Interval(None if found.mean is None else 1 + found.mean, 1 + found.low, min(1.0, 1 + found.high))


def least(plus: int, zero: int, minus: int, delta: float) -> float:
    """A bound below the mean, which is ever wrong with probability `delta` at most; -1 where little is known."""
    return last_refuted(-1.0, 1.0, lambda mean: _evidence_above(mean, plus, zero, minus), delta)


def _evidence_above(mean: float, plus: int, zero: int, minus: int) -> float:
    """The logarithm of the wealth of those who bet on a mean above this one. It falls as the mean rises."""
    logarithms = [
        plus * math.log1p(bet * (1 - mean) / (1 + mean))
        + zero * math.log1p(-bet * mean / (1 + mean))
        + minus * math.log1p(-bet)
        for bet in BETS
    ]
    return mixed(logarithms)
