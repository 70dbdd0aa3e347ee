"""Services held against each other: medians of the rounds, and ratios with bootstrap intervals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import numpy as np

from loadtest.machine import Machine, machine
from loadtest.traffic.plan import Plan
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import Result

RESAMPLES = 2_000


class Spread(TypedDict):
    """Median, lowest and highest of the rounds."""

    median: float
    lowest: float
    highest: float


class Ratio(TypedDict):
    """Median of the rounds' ratios, with its 95 % interval."""

    median: float
    low: float
    high: float


class Row(TypedDict):
    """One service. The ratios are None where the other one's goodput was 0 in a round; the first row has none."""

    name: str
    goodput_per_s: Spread
    rounds: list[float]
    p99_ms: list[float | None]
    broken_by: list[list[str]]
    times_the_one_before: NotRequired[Ratio | None]
    times_the_first: NotRequired[Ratio | None]


class Terms(TypedDict):
    """The objective that all services were held to; the least goodputs are None where none was asked."""

    limits_ms: dict[str, float]
    goodput_per_s: float | None
    goodput_with_degraded_per_s: float | None
    max_degraded_share: float


class Comparison(TypedDict):
    """compare.json."""

    objective: Terms
    plan: dict[str, object]
    rows: list[Row]
    machine: Machine


@dataclass(slots=True)
class Rounds:
    """One service, round by round: highest goodput (full answers/s), its p99 in ms, and what a higher rate broke."""

    goodput_per_s: list[float] = field(default_factory=list)
    p99_ms: list[float | None] = field(default_factory=list)
    broken_by: list[list[str]] = field(default_factory=list)


def reasons(broken: Result | None) -> list[str]:
    """Why a run failed: each part of the objective that it broke, with measured and asked value."""
    if broken is None:
        return []
    late = [] if broken["valid"] else [f"the generator was {broken['generator_lag_p99_ms']:g} ms late"]
    failed = (row for row in broken["objective"] if not row["holds"])
    return late + [f"{row['what']}: {row['measured']}, {row['asked']} asked" for row in failed]


def summary(measured: Mapping[str, Rounds], plan: Plan, objective: Objective) -> Comparison:
    """Medians with their spread, and each service's ratios to the one before and to the first."""
    names = list(measured)
    rows = []
    for place, (name, rounds) in enumerate(measured.items()):
        row: Row = {
            "name": name,
            "goodput_per_s": spread(rounds.goodput_per_s),
            "rounds": rounds.goodput_per_s,
            "p99_ms": rounds.p99_ms,
            "broken_by": rounds.broken_by,
        }
        if place:
            before, first = measured[names[place - 1]], measured[names[0]]
            row["times_the_one_before"] = ratio(rounds.goodput_per_s, before.goodput_per_s)
            row["times_the_first"] = ratio(rounds.goodput_per_s, first.goodput_per_s)
        rows.append(row)
    return {
        "objective": {
            "limits_ms": dict(objective.limits_ms),
            "goodput_per_s": objective.goodput_per_s,
            "goodput_with_degraded_per_s": objective.goodput_with_degraded_per_s,
            "max_degraded_share": objective.max_degraded_share,
        },
        "plan": {key: value for key, value in plan.as_dict().items() if key not in ("url", "arrivals", "seconds")},
        "rows": rows,
        "machine": machine(),
    }


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest."""
    return {
        "median": round(statistics.median(values), 2),
        "lowest": round(min(values), 2),
        "highest": round(max(values), 2),
    }


def ratio(these: Sequence[float], those: Sequence[float], seed: int = 1) -> Ratio | None:
    """Median of the rounds' ratios, with a 95 % bootstrap interval over rounds; None where `those` has a zero."""
    if not all(those):
        return None
    ratios = np.array(these) / np.array(those)
    rng = np.random.default_rng(seed)
    medians = np.median(ratios[rng.integers(0, len(ratios), (RESAMPLES, len(ratios)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"median": round(float(np.median(ratios)), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def table(comparison: Comparison) -> str:
    """The comparison in Markdown."""
    limits = ", ".join(f"{name} {ms:g} ms" for name, ms in comparison["objective"]["limits_ms"].items())
    lines = [
        f"| at {limits} | goodput/s (lowest to highest) | times the one before | times the first |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in comparison["rows"]:
        cells = [_times(row.get("times_the_one_before")), _times(row.get("times_the_first"))]
        g = row["goodput_per_s"]
        lines.append(f"| {row['name']} | {g['median']:g} ({g['lowest']:g} to {g['highest']:g}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _times(found: Ratio | None) -> str:
    return f"{found['median']:g} ({found['low']:g} to {found['high']:g})" if found else ""
