"""How many replicas for so many requests a second: measured tables, a simulation, and its check against the service."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.pages.live import console
from loadtest.pages.report import machine, write_json
from loadtest.queueing.simulation import Load, Tables, simulate
from loadtest.queueing.tables import Measured, measure
from loadtest.run import Plan
from loadtest.verdict.contender import Subject
from loadtest.verdict.figures import percentile
from loadtest.verdict.objective import Objective

MIN_SIMULATED = 2_000
"""Requests, however small the rate: a p99 of fewer is one request's name."""
CHECK_SHARES = (0.4, 0.65)
"""Loads at which the simulation is held against the service, as shares of what the API can do."""
CHECK_ROUNDS, TOLERANCE = 3, 0.25


def replicas(
    tables: Tables, load: Load, rate_per_s: float, limit_ms: float, max_degraded_share: float = 0.01
) -> dict[str, Any]:
    """How many replicas answer `rate_per_s` with a p99 within the limit: the highest rate of one, by bisection."""
    ceiling = ceiling_per_s(tables, load)
    low, high = 0.0, ceiling
    best: dict[str, Any] = {}
    while high - low > 0.01 * ceiling:
        middle = (low + high) / 2
        found = predicted(tables, replace(load, rate_per_s=middle))
        if found["p99_ms"] <= limit_ms and found["degraded_share"] <= max_degraded_share:
            low, best = middle, found
        else:
            high = middle
    count = math.ceil(rate_per_s / low) if low else None
    each = predicted(tables, replace(load, rate_per_s=rate_per_s / count)) if count else best
    said = {name: _finite(value) for name, value in each.items()}
    return {"replicas": count, "highest_rate_of_one_per_s": round(low, 1), "each": said}


def ceiling_per_s(tables: Tables, load: Load) -> float:
    """Requests a second at which the API processes have no moment left, or the cores have none left for them."""
    api_ms = float(np.mean([item.api_ms for item in tables.items]))
    return 1e3 * min(load.workers / api_ms, tables.cores / (api_ms + tables.generator_ms))


def predicted(tables: Tables, load: Load) -> dict[str, float]:
    """p50, p99 and degraded share of one replica; infinite where so many are not answered."""
    found = simulate(tables, replace(load, seconds=max(load.seconds, MIN_SIMULATED / load.rate_per_s)))
    return {
        "rate_per_s": round(load.rate_per_s, 1),
        "p50_ms": percentile(found.latency_ms, 0.5),  # type: ignore[arg-type]
        "p99_ms": percentile(found.latency_ms, 0.99),  # type: ignore[arg-type]
        "degraded_share": float(found.degraded.mean()),
    }


def check(found: Measured, load: Load, *, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Predicted against measured p99 at two loads, the median of rounds in turn."""
    plan, known, tables = found.plan, found.known, found.tables
    ceiling = ceiling_per_s(tables, load)
    subject = Subject(plan, Objective(), known, known.typical(plan.mix, plan.seed))
    runs: dict[float, list[dict[str, Any]]] = {share: [] for share in CHECK_SHARES}
    for number in range(rounds):
        for share in CHECK_SHARES:
            runs[share].append(subject.attempt(share * ceiling, seed=number + 1, seconds=seconds))
    rows = []
    for share in CHECK_SHARES:
        said = predicted(tables, replace(load, rate_per_s=share * ceiling))
        p50_ms, p99_ms = (
            [run["figures"]["asked_ms"][name]["ms"] or math.inf for run in runs[share]] for name in ("p50", "p99")
        )
        valid = all(run["valid"] for run in runs[share])
        off = said["p99_ms"] / percentile(p99_ms, 0.5) - 1
        rows.append(
            {
                "rate_per_s": said["rate_per_s"],
                "predicted_p50_ms": _finite(said["p50_ms"]),
                "measured_p50_ms": _finite(percentile(p50_ms, 0.5)),
                "predicted_p99_ms": _finite(said["p99_ms"]),
                "measured_p99_ms": _finite(percentile(p99_ms, 0.5)),
                "rounds_ms": [_finite(ms) for ms in p99_ms],
                "off_share": _finite(off),
                "valid": valid,
                "holds": valid and abs(off) <= TOLERANCE,
            }
        )
    return rows


def answer(
    plan: Plan,
    *,
    rate_per_s: float,
    limit_ms: float,
    workers: int,
    share: float | None,
    folder: Path,
    check_s: float | None,
    max_degraded_share: float = 0.01,
) -> dict[str, Any]:
    """Measure, simulate, perhaps check; writes capacity.json. `share`: of escalations, as the data has it where None.

    The service is taken to have the default settings but for its `workers`.
    """
    if share is not None:
        plan = replace(plan, mix=replace(plan.mix, hard_share=share))
    measured = measure(plan, workers)
    load = Load(rate_per_s=rate_per_s, budget_ms=plan.budget_ms or limit_ms, workers=workers)
    rows = check(measured, load, seconds=check_s, rounds=CHECK_ROUNDS) if check_s else []
    tables = measured.tables
    # In production the generator is somewhere else.
    found = replicas(replace(tables, generator_ms=0.0), load, rate_per_s, limit_ms, max_degraded_share)
    said = {key: value for key, value in asdict(tables).items() if key != "items"}
    api_ms = [item.api_ms for item in tables.items]
    expert_ms = [item.expert_ms for item in tables.items if item.expert_ms is not None]
    quantiles = {
        name: {f"p{q}": percentile(values, q / 100) for q in (10, 50, 90, 99)} if values else None
        for name, values in (("api_ms", api_ms), ("expert_ms", expert_ms))
    }
    result = {
        "asked": {
            "rate_per_s": rate_per_s,
            "p99_ms": limit_ms,
            "escalation_share": round(measured.escalation_share if share is None else share, 4),
        },
        **found,
        "check": rows,
        "tables": {**said, **quantiles},
        "machine": machine(),
    }
    write_json(folder / "capacity.json", result)
    return result


def say(result: dict[str, Any]) -> None:
    """For a terminal."""
    for row in result["check"]:
        mark = "holds      " if row["holds"] else "FALLS SHORT"
        console.print(
            f"{mark} at {row['rate_per_s']:g}/s: p99 predicted {_said(row['predicted_p99_ms'])} ms, measured "
            f"{_said(row['measured_p99_ms'])} ms ({_off(row)}; {TOLERANCE:.0%} allowed)"
        )
    console.print(in_words(result))


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [in_words(result) + "."]
    if result["check"]:
        lines += [
            "",
            "| requests/s | p50 ms predicted | measured | p99 ms predicted | measured (rounds) | off |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
    for row in result["check"]:
        rounds = ", ".join(map(_said, row["rounds_ms"]))
        lines.append(
            f"| {row['rate_per_s']:g} | {_said(row['predicted_p50_ms'])} | {_said(row['measured_p50_ms'])} "
            f"| {_said(row['predicted_p99_ms'])} | {_said(row['measured_p99_ms'])} ({rounds}) | {_off(row)} |"
        )
    return "\n".join(lines)


def in_words(result: dict[str, Any]) -> str:
    """The answer to the question how many."""
    asked, each = result["asked"], result["each"]
    if result["replicas"] is None:
        return f"no number of replicas keeps p99 within {asked['p99_ms']:g} ms: one alone does not when idle"
    return (
        f"{result['replicas']} replicas for {asked['rate_per_s']:g} requests/s at p99 {asked['p99_ms']:g} ms with "
        f"{asked['escalation_share']:.1%} escalated: each at most {result['highest_rate_of_one_per_s']:g}/s; then p99 "
        f"is {_said(each['p99_ms'])} ms"
    )


def _finite(value: float) -> float | None:
    """For JSON, which knows no infinity."""
    return round(value, 4) if math.isfinite(value) else None


def _said(ms: float | None) -> str:
    return "no answer" if ms is None else f"{ms:.1f}"


def _off(row: dict[str, Any]) -> str:
    if not row["valid"]:
        return "the generator was late"
    return "not to be told" if row["off_share"] is None else f"{row['off_share']:+.0%}"
