"""Percentiles, and their bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
MIN_BEYOND = 10
"""Samples that must lie beyond a percentile; with fewer, single slow requests decide it."""
BLOCK_S, MIN_BLOCKS = 1.0, 20
RESAMPLES = 400

Floats = NDArray[np.float64]


class EstimateRow(TypedDict):
    """An estimate in JSON; None where a value is infinite, because too many requests got no answer."""

    ms: float | None
    low_ms: float | None
    high_ms: float | None
    too_few_samples: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """A percentile in milliseconds with its 95 % bootstrap interval. `enough`: whether MIN_BEYOND samples exceed it."""

    value_ms: float
    low_ms: float
    high_ms: float
    enough: bool

    def as_dict(self) -> EstimateRow:
        """For JSON, rounded to microseconds."""
        value, low, high = (
            round(ms, 3) if math.isfinite(ms) else None for ms in (self.value_ms, self.low_ms, self.high_ms)
        )
        return {"ms": value, "low_ms": low, "high_ms": high, "too_few_samples": not self.enough}


def percentile(values: Sequence[float] | Floats, share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; NaN without values."""
    if not len(values):
        return math.nan
    return float(np.partition(np.asarray(values), rank := rank_of(share, len(values)))[rank])


def rank_of(share: float, count: int) -> int:
    """The place of that value among `count` sorted ones, from 0."""
    return min(count - 1, max(0, math.ceil(share * count - 1e-9) - 1))


def estimates(due_s: Floats, latency_ms: Floats, seed: int = 1) -> dict[str, Estimate]:
    """All PERCENTILES of the latencies [requests], with intervals from a block bootstrap (Künsch 1989).

    A block is one second of the run, or a twentieth of a short run. Requests of one second share a queue, so
    resampling them one by one would give intervals that are too narrow.
    """
    count = len(latency_ms)
    if not count:
        return {name: Estimate(math.nan, math.nan, math.nan, False) for name in PERCENTILES}
    blocks = _blocks(due_s, latency_ms)
    rng = np.random.default_rng(seed)
    resampled: dict[str, list[float]] = {name: [] for name in PERCENTILES}
    for _ in range(RESAMPLES):
        values = np.concatenate([blocks[i] for i in rng.integers(0, len(blocks), len(blocks))])
        ranks = {name: rank_of(share, len(values)) for name, share in PERCENTILES.items()}
        parted = np.partition(values, sorted(set(ranks.values())))
        for name, rank in ranks.items():
            resampled[name].append(float(parted[rank]))
    found = {}
    for name, share in PERCENTILES.items():
        # No interpolation: between two infinite values it would give NaN.
        low, high = (percentile(resampled[name], s) for s in (0.025, 0.975))
        found[name] = Estimate(percentile(latency_ms, share), low, high, count * (1 - share) >= MIN_BEYOND)
    return found


def _blocks(due_s: Floats, latency_ms: Floats) -> list[Floats]:
    width = min(BLOCK_S, max(np.ptp(due_s) / MIN_BLOCKS, 1e-3))
    number = (due_s // width).astype(int)
    order = np.argsort(number, kind="stable")
    edges = np.flatnonzero(np.diff(number[order])) + 1
    return [block for block in np.split(latency_ms[order], edges) if len(block)]
