"""The simulation held against the service that its tables were measured on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from loadtest.measuring.contender import Subject
from loadtest.queueing.replicas import ceiling_per_s, finite, predicted
from loadtest.queueing.simulation import Load
from loadtest.queueing.tables import Measured
from loadtest.verdict.objective import Objective
from loadtest.verdict.percentiles import percentile
from loadtest.verdict.result import Result

CHECK_SHARES = (0.4, 0.65)
"""Loads of the check, as shares of the highest rate that the API processes can reach."""
TOLERANCE = 0.25
"""How far the predicted p99 may be from the measured one, as a share of that."""


class CheckRow(TypedDict):
    """Prediction and measurement at one rate; None for infinity. `rounds_ms`: p99 of each round."""

    rate_per_s: float
    predicted_p50_ms: float | None
    measured_p50_ms: float | None
    predicted_p99_ms: float | None
    measured_p99_ms: float | None
    rounds_ms: list[float | None]
    off_share: float | None
    valid: bool
    holds: bool


def check(found: Measured, load: Load, *, seconds: float, rounds: int) -> list[CheckRow]:
    """Drive the service at two loads in turn, for `seconds` each, and compare the medians with the prediction."""
    plan, known = found.plan, found.known
    ceiling = ceiling_per_s(found.tables, load)
    subject = Subject(plan, Objective(), known, known.typical(plan.mix, plan.seed))
    runs: dict[float, list[Result]] = {share: [] for share in CHECK_SHARES}
    for number in range(rounds):
        for share in CHECK_SHARES:
            runs[share].append(subject.attempt(share * ceiling, seed=number + 1, seconds=seconds))
    return [_row(found, replace(load, rate_per_s=share * ceiling), runs[share]) for share in CHECK_SHARES]


def _row(found: Measured, load: Load, runs: Sequence[Result]) -> CheckRow:
    said = predicted(found.tables, load)
    p50_ms, p99_ms = ([run["figures"]["asked_ms"][name]["ms"] or math.inf for run in runs] for name in ("p50", "p99"))
    valid = all(run["valid"] for run in runs)
    off = said["p99_ms"] / percentile(p99_ms, 0.5) - 1
    return {
        "rate_per_s": said["rate_per_s"],
        "predicted_p50_ms": finite(said["p50_ms"]),
        "measured_p50_ms": finite(percentile(p50_ms, 0.5)),
        "predicted_p99_ms": finite(said["p99_ms"]),
        "measured_p99_ms": finite(percentile(p99_ms, 0.5)),
        "rounds_ms": [finite(ms) for ms in p99_ms],
        "off_share": finite(off),
        "valid": valid,
        "holds": valid and abs(off) <= TOLERANCE,
    }
