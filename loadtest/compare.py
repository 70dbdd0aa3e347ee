"""What each step bought: the highest goodput of several services at one objective, in turn, in one run."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.pages.live import console
from loadtest.pages.report import machine, page, write_json, write_text
from loadtest.run import Plan
from loadtest.verdict.contender import Contender, Subject
from loadtest.verdict.objective import Objective

RESAMPLES = 2_000


def compare(
    contenders: Sequence[Contender], plan: Plan, objective: Objective, *, rounds: int, folder: Path
) -> dict[str, Any]:
    """Serve all, and let them take turns in `rounds`; the last is held against the first, each step against the one
    before. Writes compare.json and compare.html after every round, so that what was measured is never lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    goodput: dict[str, list[float]] = {c.name: [] for c in contenders}
    p99: dict[str, list[float | None]] = {c.name: [] for c in contenders}
    broken_by: dict[str, list[list[str]]] = {c.name: [] for c in contenders}
    result: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        subjects: dict[str, Subject] = {}
        for contender in contenders:
            console.print(f"starting {contender.name}")
            subjects[contender.name] = stack.enter_context(
                contender.served(plan, objective, folder / f"{contender.name.replace(' ', '-')}.log")
            )
        for number in range(1, rounds + 1):
            for name, subject in subjects.items():
                start = max(goodput[name], default=0.0) or subject.start_per_s
                found = subject.highest(start, seed=number)
                goodput[name].append(found.goodput_per_s)
                p99[name].append(found.result and found.result["figures"]["asked_ms"]["p99"]["ms"])
                broken_by[name].append(reasons(found.broken))
                console.print(f"round {number} of {rounds}: {name}: {found.goodput_per_s:.0f}/s ({found.runs} runs)")
            result = summary(goodput, p99, broken_by, plan, objective)
            write(folder, result)
    return result


def reasons(broken: dict[str, Any] | None) -> list[str]:
    """Why the lowest rate that was too much was too much: what of the objective it broke, and by how much."""
    if broken is None:
        return []
    late = [] if broken["valid"] else [f"the generator was {broken['generator_lag_p99_ms']:g} ms late"]
    failed = (row for row in broken["objective"] if not row["holds"])
    return late + [f"{row['what']}: {row['measured']}, {row['asked']} asked" for row in failed]


def summary(
    goodput: dict[str, list[float]],
    p99: dict[str, list[float | None]],
    broken_by: dict[str, list[list[str]]],
    plan: Plan,
    objective: Objective,
) -> dict[str, Any]:
    """Medians with the spread, and the ratios of each to the one before and to the first, round by round."""
    names = list(goodput)
    rows = []
    for place, name in enumerate(names):
        row = {"name": name, "goodput_per_s": spread(goodput[name]), "rounds": goodput[name], "p99_ms": p99[name]}
        row["broken_by"] = broken_by[name]
        if place:
            row["times_the_one_before"] = ratio(goodput[name], goodput[names[place - 1]])
            row["times_the_first"] = ratio(goodput[name], goodput[names[0]])
        rows.append(row)
    return {
        "objective": {"limits_ms": dict(objective.limits_ms), "max_degraded_share": objective.max_degraded_share},
        "plan": {key: value for key, value in plan.as_dict().items() if key not in ("url", "arrivals", "seconds")},
        "rows": rows,
        "machine": machine(),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {
        "median": round(statistics.median(values), 2),
        "lowest": round(min(values), 2),
        "highest": round(max(values), 2),
    }


def ratio(these: Sequence[float], those: Sequence[float], seed: int = 1) -> dict[str, float] | None:
    """Median of the rounds' ratios, with a bootstrap interval of 95 % over rounds; None where `those` has a zero."""
    if not all(those):
        return None
    ratios = np.array(these) / np.array(those)
    rng = np.random.default_rng(seed)
    medians = np.median(ratios[rng.integers(0, len(ratios), (RESAMPLES, len(ratios)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"median": round(float(np.median(ratios)), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def write(folder: Path, result: dict[str, Any]) -> None:
    """compare.json and compare.html."""
    from loadtest.pages import pictures

    write_json(folder / "compare.json", result)
    write_text(folder / "compare.html", page("compare.html", result=result, picture=pictures.ladder(result["rows"])))


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    limits = ", ".join(f"{name} {ms:g} ms" for name, ms in result["objective"]["limits_ms"].items())
    lines = [
        f"| at {limits} | goodput/s (lowest to highest) | times the one before | times the first |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        cells = [_times(row.get(key)) for key in ("times_the_one_before", "times_the_first")]
        g = row["goodput_per_s"]
        lines.append(f"| {row['name']} | {g['median']:g} ({g['lowest']:g} to {g['highest']:g}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _times(found: dict[str, float] | None) -> str:
    return f"{found['median']:g} ({found['low']:g} to {found['high']:g})" if found else ""
