"""bench.json as Markdown: the closed loops, the bounds, and the loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bounds import CONNECTIONS, Bound
from loadtest.pages.overload import steps_table

Spreads = Mapping[str, Mapping[str, float]]


def tables(report: Mapping[str, Any]) -> str:
    """All tables of a run's bench.json."""
    figures = report["figures"]
    return "\n\n".join(
        [
            closed_loops(figures["rounds"]),
            bounds_table(report["bounds"]),
            "Everything escalates; times are of the expert's saturation (32 connections in a closed loop):",
            steps_table(figures["expert_loads"]),
            "Nothing escalates; times are of the API's saturation:",
            steps_table(figures["screen_loads"]),
        ]
    )


def closed_loops(rounds: Spreads) -> str:
    """The model alone, Sieve and FastAPI at each number of connections: medians, least and most in brackets."""
    alone = {1: spread(rounds["alone_1_per_s"]), 32: f"{spread(rounds['alone_32_per_s'])}, batch 32"}
    p50_ms = (rounds[key]["median"] for key in ("alone_run_p50_ms", "expert_1_p50_ms", "fastapi_1_p50_ms"))
    lines = ["| | model alone | Sieve | FastAPI, no batching |", "| --- | ---: | ---: | ---: |"]
    for count in CONNECTIONS:
        served = (spread(rounds[f"{name}_{count}_per_s"]) for name in ("expert", "fastapi"))
        name = f"requests/s, {count} connection{'s' * (count > 1)}"
        lines.append(f"| {name} | {alone.get(count, '')} | {' | '.join(served)} |")
    lines.append(f"| p50 ms, 1 connection | {' | '.join(f'{ms:.2f}' for ms in p50_ms)} |")
    return "\n".join(lines)


def bounds_table(rows: Sequence[Bound]) -> str:
    """Each bound with its figure, in bold where it falls short."""
    lines = ["| bound | asked | measured |", "| --- | ---: | ---: |"]
    for row in rows:
        lines.append(f"| {row['what']} | {row['asked']} | {said(row) if row['holds'] else f'**{said(row)}**'} |")
    return "\n".join(lines)


def said(row: Bound) -> str:
    """What was measured."""
    return "nothing" if row["measured"] is None else f"{row['measured']:,.2f}"


def spread(values: Mapping[str, float]) -> str:
    return f"{values['median']:.0f} ({values['least']:.0f} to {values['most']:.0f})"
