"""Bounds on a rate that hold at every moment, however often one looks. Pure.

Item i is a miss (X = 1) at a rate r_i, given all that came before it, and stands for w_i items of the traffic. The
bounds are on the mean rate so far, sum(w r) / sum(w); rates may change at any time.

Bet a share b on misses. prod(1 + b w X) / prod(1 + b w r) is a nonnegative martingale that begins at 1, so with
probability 1 - delta it never reaches 1 / delta (Ville 1939). As 1 + x <= exp(x), the wealth

    prod(1 + b w X) * exp(-b m W),  W = sum(w)

is no larger than it where m is the mean rate or more. A mean rate m that makes any such wealth reach 1 / delta is
refuted. With -b in the place of b the same holds for an m that is too large, as long as b w < 1. The mean of the wealth
of several bets, fixed beforehand, keeps the guarantee and needs no luck in the choice of one. These are the betting
confidence sequences of Waudby-Smith and Ramdas ("Estimating means of bounded random variables by betting", JRSS B 2024)
in the form of a Poisson law: only W and the misses of each weight are needed, so that sums of several processes add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

WEIGHTS = (1, 2, 4)
"""What an audited item may stand for, relative to one at the full share."""
RISES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Bets that the rate is larger than m: bet b wins fastest where the rate is (1 + b) m."""
FALLS = (0.24, 0.16, 0.08, 0.04, 0.02)
"""Bets that it is smaller, each less than 1 / max(WEIGHTS)."""
HALVINGS = 40


def evidence_above(rate: float, weight: float, misses: Sequence[int]) -> float:
    """The logarithm of the wealth of those who bet that the mean rate is above `rate`.

    `weight` is the sum of the weights of all items, `misses` holds how many were misses, for each of WEIGHTS.
    """
    return mixed([_won(misses, bet) - bet * rate * weight for bet in RISES])


def evidence_below(rate: float, weight: float, misses: Sequence[int]) -> float:
    """The same of those who bet that it is below."""
    return mixed([_won(misses, -bet) + bet * rate * weight for bet in FALLS])


def least_rate(weight: float, misses: Sequence[int], delta: float) -> float:
    """A bound below the mean rate: over all time, it is ever wrong with probability `delta` at most."""
    return last_refuted(0.0, 1.0, lambda rate: evidence_above(rate, weight, misses), delta)


def most_rate(weight: float, misses: Sequence[int], delta: float) -> float:
    """A bound above the mean rate, which is ever wrong with probability `delta` at most; 1 where little is known."""
    return last_refuted(1.0, 0.0, lambda rate: evidence_below(rate, weight, misses), delta)


def last_refuted(first: float, last: float, evidence: Callable[[float], float], delta: float) -> float:
    """The mean farthest from `first` on the way to `last` that evidence of 1 / `delta` refutes, by halving."""
    wanted = -math.log(delta)
    for _ in range(HALVINGS):
        middle = (first + last) / 2
        first, last = (middle, last) if evidence(middle) >= wanted else (first, middle)
    return first


def _won(misses: Sequence[int], bet: float) -> float:
    return sum(count * math.log1p(bet * weight) for count, weight in zip(misses, WEIGHTS, strict=True))


def mixed(logarithms: Sequence[float]) -> float:
    """The logarithm of the mean of numbers with these logarithms."""
    largest = max(logarithms)
    return largest + math.log(sum(math.exp(each - largest) for each in logarithms) / len(logarithms))
