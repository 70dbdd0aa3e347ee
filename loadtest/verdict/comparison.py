"""Services held against each other: medians of the rounds, and ratios with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from loadtest.machine import Machine, machine
from loadtest.traffic.plan import Plan
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import Result

CONFIDENCE = 0.95


class Spread(TypedDict):
    """Median, lowest and highest of the rounds."""

    median: float
    lowest: float
    highest: float


class Ratio(TypedDict):
    """Median of the rounds' ratios, with its `interval`."""

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


def ratio(these: Sequence[float], those: Sequence[float]) -> Ratio | None:
    """Median of the rounds' ratios, with its `interval`; None where `those` has a zero."""
    if not all(those):
        return None
    found = ratios(these, those)
    low, high = interval(found)
    return {"median": round(statistics.median(found), 2), "low": round(low, 2), "high": round(high, 2)}


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """The ratio of each round: infinite where `those` is 0, and 1 where both are."""
    return [a / b if b else (math.inf if a else 1.0) for a, b in zip(these, those, strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median, whatever the distribution (Hahn and Meeker 1991, section 5.2).

    Its ends are values that came. Up to 8 of them, these are the least and the largest; `coverage` says how often such
    an interval holds the median.
    """
    ordered = sorted(values)
    place = _beyond(len(ordered))
    return ordered[place], ordered[-1 - place]


def coverage(count: int) -> float:
    """How often the `interval` of so many values holds their median: 75 % of 3, 94 % of 5, above 95 % from 6 on."""
    return 1 - 2 * _tail(count, _beyond(count))


def _beyond(count: int) -> int:
    """How many values lie beyond each end of the interval."""
    place = 0
    while _tail(count, place + 1) <= (1 - CONFIDENCE) / 2:
        place += 1
    return place


def _tail(count: int, most: int) -> float:
    """The probability that at most `most` of so many values lie below their median."""
    return math.fsum(math.comb(count, each) for each in range(most + 1)) * 0.5**count


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
