"""How many replicas a rate needs, by bisecting the simulation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypedDict

import numpy as np

from loadtest.queueing.simulation import Load, Tables, simulate
from loadtest.verdict.percentiles import percentile

MIN_SIMULATED = 2_000
"""Requests to simulate at least, however small the rate; a p99 of fewer is decided by single requests."""
PRECISION = 0.01


class Prediction(TypedDict):
    """What the simulation predicts at a rate; infinite percentiles where too many requests get no answer."""

    rate_per_s: float
    p50_ms: float
    p99_ms: float
    degraded_share: float


class Replicas(TypedDict):
    """The number of replicas, the highest rate of one, and what is predicted for each; in JSON None for infinity.

    `replicas` is None where no rate keeps the limit; `each` is then empty.
    """

    replicas: int | None
    highest_rate_of_one_per_s: float
    each: dict[str, float | None]


def replicas(
    tables: Tables, load: Load, rate_per_s: float, limit_ms: float, max_degraded_share: float = 0.01
) -> Replicas:
    """The number of replicas that answer `rate_per_s` with a p99 within `limit_ms`.

    Bisects the highest rate of one replica.
    """
    ceiling = ceiling_per_s(tables, load)
    low, high = 0.0, ceiling
    while high - low > PRECISION * ceiling:
        middle = (low + high) / 2
        found = predicted(tables, replace(load, rate_per_s=middle))
        if found["p99_ms"] <= limit_ms and found["degraded_share"] <= max_degraded_share:
            low = middle
        else:
            high = middle
    if not low:
        return {"replicas": None, "highest_rate_of_one_per_s": 0.0, "each": {}}
    count = math.ceil(rate_per_s / low)
    each = predicted(tables, replace(load, rate_per_s=rate_per_s / count))
    return {
        "replicas": count,
        "highest_rate_of_one_per_s": round(low, 1),
        "each": {
            "rate_per_s": finite(each["rate_per_s"]),
            "p50_ms": finite(each["p50_ms"]),
            "p99_ms": finite(each["p99_ms"]),
            "degraded_share": finite(each["degraded_share"]),
        },
    }


def ceiling_per_s(tables: Tables, load: Load) -> float:
    """The rate at which the API processes, or the cores that they share with the generator, are fully busy."""
    api_ms = float(np.mean([item.api_ms for item in tables.items]))
    return 1e3 * min(load.workers / api_ms, tables.cores / (api_ms + tables.generator_ms))


def predicted(tables: Tables, load: Load) -> Prediction:
    """p50, p99 and degraded share of one replica at the rate of `load`."""
    found = simulate(tables, replace(load, seconds=max(load.seconds, MIN_SIMULATED / load.rate_per_s)))
    return {
        "rate_per_s": round(load.rate_per_s, 1),
        "p50_ms": percentile(found.latency_ms, 0.5),
        "p99_ms": percentile(found.latency_ms, 0.99),
        "degraded_share": float(found.degraded.mean()),
    }


def finite(value: float) -> float | None:
    """The value rounded for JSON; None for infinity and NaN, which JSON does not have."""
    return round(value, 4) if math.isfinite(value) else None
