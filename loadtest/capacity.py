"""The verb `capacity`: measure one replica, simulate it, and say how many replicas a rate needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypedDict

from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json
from loadtest.pages.live import console
from loadtest.queueing.replicas import Replicas, replicas
from loadtest.queueing.simulation import Load, Tables
from loadtest.queueing.tables import measure
from loadtest.queueing.validation import TOLERANCE, CheckRow, check
from loadtest.traffic.plan import Plan
from loadtest.verdict.percentiles import percentile

CHECK_ROUNDS = 3


class Asked(TypedDict):
    """The question: so many requests a second, so many of them escalated, at this p99."""

    rate_per_s: float
    p99_ms: float
    escalation_share: float


class CapacityResult(Replicas):
    """capacity.json."""

    asked: Asked
    check: list[CheckRow]
    tables: dict[str, object]
    machine: Machine


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
) -> CapacityResult:
    """Measure the service at `plan.url`, simulate it, check the simulation for `check_s`; writes capacity.json.

    `share`: of escalations; None for that of the data. The service is assumed to have its default settings except for
    `workers`, its API processes. Raises LoadTestError.
    """
    if share is not None:
        plan = replace(plan, mix=replace(plan.mix, hard_share=share))
    measured = measure(plan, workers)
    load = Load(rate_per_s=rate_per_s, budget_ms=plan.budget_ms or limit_ms, workers=workers)
    rows = check(measured, load, seconds=check_s, rounds=CHECK_ROUNDS) if check_s else []
    # In production the generator runs on another machine.
    found = replicas(replace(measured.tables, generator_ms=0.0), load, rate_per_s, limit_ms, max_degraded_share)
    result: CapacityResult = {
        "asked": {
            "rate_per_s": rate_per_s,
            "p99_ms": limit_ms,
            "escalation_share": round(measured.escalation_share if share is None else share, 4),
        },
        **found,
        "check": rows,
        "tables": _tables(measured.tables),
        "machine": machine(),
    }
    write_json(folder / "capacity.json", result)
    return result


def _tables(tables: Tables) -> dict[str, object]:
    """The tables for JSON, with percentiles in place of the items."""
    said = {key: value for key, value in asdict(tables).items() if key != "items"}
    expert_ms = [item.expert_ms for item in tables.items if item.expert_ms is not None]
    return {
        **said,
        "api_ms": _percentiles([item.api_ms for item in tables.items]),
        "expert_ms": _percentiles(expert_ms),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    return {f"p{q}": percentile(values, q / 100) for q in (10, 50, 90, 99)} if values else None


def say(result: CapacityResult) -> None:
    """Print the check and the answer."""
    for row in result["check"]:
        mark = "holds      " if row["holds"] else "FALLS SHORT"
        console.print(
            f"{mark} at {row['rate_per_s']:g}/s: p99 predicted {_said(row['predicted_p99_ms'])} ms, measured "
            f"{_said(row['measured_p99_ms'])} ms ({_off(row)}; {TOLERANCE:.0%} allowed)"
        )
    console.print(in_words(result))


def table(result: CapacityResult) -> str:
    """The answer and the check in Markdown."""
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


def in_words(result: CapacityResult) -> str:
    """The answer in a sentence."""
    asked, each = result["asked"], result["each"]
    if result["replicas"] is None:
        return f"no number of replicas keeps p99 within {asked['p99_ms']:g} ms: one alone does not when idle"
    return (
        f"{result['replicas']} replicas for {asked['rate_per_s']:g} requests/s at p99 {asked['p99_ms']:g} ms with "
        f"{asked['escalation_share']:.1%} escalated: each at most {result['highest_rate_of_one_per_s']:g}/s; then p99 "
        f"is {_said(each['p99_ms'])} ms"
    )


def _said(ms: float | None) -> str:
    return "no answer" if ms is None else f"{ms:.1f}"


def _off(row: CheckRow) -> str:
    if not row["valid"]:
        return "the generator was late"
    return "not to be told" if row["off_share"] is None else f"{row['off_share']:+.0%}"
