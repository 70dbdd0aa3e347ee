"""The result of one run: figures, validity, objective, bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from loadtest.machine import Machine
from loadtest.traffic.plan import MAX_LAG_MS
from loadtest.traffic.reply import Reply
from loadtest.verdict.bottleneck import Bottleneck, bottleneck
from loadtest.verdict.figures import Figures, figures
from loadtest.verdict.objective import Judged, Objective, judge
from loadtest.verdict.parts import Breakdown, breakdown
from loadtest.verdict.payloads import PayloadRow
from loadtest.verdict.percentiles import percentile


class Result(TypedDict):
    """What one run at one rate showed. `passed`: it was valid and kept every part of the objective."""

    valid: bool
    generator_lag_p99_ms: float
    generator_lag_limit_ms: float
    figures: Figures
    objective: list[Judged]
    passed: bool
    bottleneck: Bottleneck


class IdleFigures(TypedDict):
    """How the service answers one request at a time, in the mix of the run."""

    requests: int
    p50_ms: float
    network_ms: float
    hard_share: float
    parts: Breakdown


class RunResult(Result):
    """run.json. `cut_to_s`: how long was measured where the time limit ended it early."""

    began: str
    plan: dict[str, object]
    cut_to_s: NotRequired[float]
    idle: IdleFigures
    payloads: NotRequired[list[PayloadRow]]
    machine: Machine


def result_of(
    replies: Sequence[Reply],
    seconds: float,
    objective: Objective,
    *,
    idle: Sequence[Reply],
    network_ms: float,
    max_lag_ms: float = MAX_LAG_MS,
) -> Result:
    """The result of a run of `seconds`.

    `idle`: answers when nothing queued. `network_ms`: as `base_network_ms` of `parts.grouped`. The run is invalid
    without replies, or where the p99 of the generator's lag exceeds `max_lag_ms`.
    """
    found = figures(replies, seconds, objective.deadline_ms, network_ms)
    rows = judge(found, objective)
    lag_ms = percentile([reply.lag_ms for reply in replies], 0.99)
    valid = bool(replies) and lag_ms <= max_lag_ms
    return {
        "valid": valid,
        "generator_lag_p99_ms": round(lag_ms, 3),
        "generator_lag_limit_ms": max_lag_ms,
        "figures": found,
        "objective": rows,
        "passed": valid and all(row["holds"] for row in rows),
        "bottleneck": bottleneck(found, breakdown(idle, network_ms)),
    }
