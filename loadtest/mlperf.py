"""The verb `mlperf`: the peak rate by MLPerf LoadGen, held against the one that our own search finds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from loadtest.errors import LimitError
from loadtest.machine import Machine, machine
from loadtest.measuring.contender import Subject
from loadtest.measuring.known import look
from loadtest.measuring.loadgen import LoadGen, LoadGenRun
from loadtest.measuring.search import MAX_RUNS, MIN_RATE_PER_S, next_rate
from loadtest.pages.files import write_json
from loadtest.pages.live import console
from loadtest.traffic.plan import Plan
from loadtest.verdict.comparison import reasons
from loadtest.verdict.objective import Objective

PRECISION = 1.06
AGREES_WITHIN = 0.1
Try = Callable[[float], LoadGenRun]


class MlperfRound(TypedDict):
    """Peak rates in one round, in answers/s: LoadGen's with the runs that led to it, and our own search's goodput.

    `own_broken_by`: what a higher rate broke, as in compare.json.
    """

    loadgen_per_s: float
    runs: list[LoadGenRun]
    own_per_s: float
    own_broken_by: list[str]


class Mlperf(TypedDict):
    """mlperf.json. The rates are medians of the rounds; `agrees`: they lie within 10 % of each other."""

    limit_ms: float
    plan: dict[str, object]
    rounds: list[MlperfRound]
    loadgen_per_s: float
    own_per_s: float
    loadgen_times_own: float | None
    agrees: bool
    accuracy: float | None
    machine: Machine


def mlperf(plan: Plan, objective: Objective, *, rounds: int, seconds: float, queries: int, folder: Path) -> Mlperf:
    """Find the peak rate with both clients in turn, and LoadGen's accuracy where labels are known.

    Writes mlperf.json after each round. Where the plan's limit ends a round early, those before it count. Raises
    LoadGenMissingError, UnreachableError, and LimitError without a whole round.
    """
    limit_ms = objective.limits_ms["p99"]
    known = look(plan)
    subject = Subject(plan, objective, known, known.typical(plan.mix, plan.seed))
    client = LoadGen(
        plan.url,
        known.samples,
        folder / "loadgen",
        limit_ms=limit_ms,
        timeout_s=plan.timeout_s,
        credentials=plan.credentials,
        until=plan.limit,
    )
    done: list[MlperfRound] = []
    start_per_s = subject.start_per_s
    accuracy = client.accuracy(start_per_s)
    for number in range(1, rounds + 1):
        runs: list[LoadGenRun] = []

        def attempt(rate: float, number: int = number, runs: list[LoadGenRun] = runs) -> LoadGenRun:
            runs.append(client.performance(rate, seconds=seconds, queries=queries, seed=number))
            return runs[-1]

        try:
            peak_per_s = peak(attempt, start_per_s)
            own = subject.highest(peak_per_s or start_per_s, seed=number)
        except LimitError:
            if not done:
                raise
            console.print(f"the time limit ended round {number}, which does not count")
            break
        start_per_s = peak_per_s or start_per_s
        done.append(
            {
                "loadgen_per_s": peak_per_s,
                "runs": runs,
                "own_per_s": own.goodput_per_s,
                "own_broken_by": reasons(own.broken),
            }
        )
        found = f"LoadGen {peak_per_s:.0f}/s, our own search {own.goodput_per_s:.0f}/s"
        console.print(f"round {number} of {rounds}: {found}; beyond it: {', '.join(reasons(own.broken))}", markup=False)
        result = summary(done, plan, limit_ms, accuracy)
        write_json(folder / "mlperf.json", result)
    return result


def peak(attempt: Try, start_per_s: float) -> float:
    """The completed rate of the fastest valid run, by bisection as in `search`; 0 where none was valid.

    A rate is given up only after two invalid runs, as in `search`.
    """
    kept, broken, rate, best = 0.0, math.inf, start_per_s, 0.0
    for _ in range(MAX_RUNS):
        run = attempt(rate)
        run = run if run["valid"] else attempt(rate)
        if run["valid"]:
            kept, best = rate, max(best, run["completed_per_s"])
        else:
            broken = rate
        rate = next_rate(kept, broken)
        if (kept and broken / kept < PRECISION) or rate < MIN_RATE_PER_S:
            break
    return best


def summary(done: list[MlperfRound], plan: Plan, limit_ms: float, accuracy: float | None) -> Mlperf:
    """mlperf.json."""
    theirs, own = (statistics.median(each[key] for each in done) for key in ("loadgen_per_s", "own_per_s"))
    times = theirs / own if own else None
    return {
        "limit_ms": limit_ms,
        "plan": {key: value for key, value in plan.as_dict().items() if key not in ("url", "arrivals", "seconds")},
        "rounds": done,
        "loadgen_per_s": round(theirs, 2),
        "own_per_s": round(own, 2),
        "loadgen_times_own": None if times is None else round(times, 3),
        "agrees": times is not None and 1 - AGREES_WITHIN <= times <= 1 / (1 - AGREES_WITHIN),
        "accuracy": accuracy,
        "machine": machine(),
    }


def table(result: Mlperf) -> str:
    """The rounds in Markdown, and below them the verdict."""
    lines = ["| round | LoadGen, answers/s | our own search |", "| ---: | ---: | ---: |"]
    for number, each in enumerate(result["rounds"], start=1):
        lines.append(f"| {number} | {each['loadgen_per_s']:.0f} | {each['own_per_s']:.0f} |")
    lines.append(f"| median | {result['loadgen_per_s']:.0f} | {result['own_per_s']:.0f} |")
    times = (
        "" if result["loadgen_times_own"] is None else f"LoadGen has {result['loadgen_times_own']:.2f} times our own: "
    )
    lines += ["", f"{times}{'they agree' if result['agrees'] else 'THEY DO NOT AGREE'} within {AGREES_WITHIN:.0%}."]
    if result["accuracy"] is not None:
        lines[-1] += f" Accuracy by LoadGen: {result['accuracy']:.2%}."
    return "\n".join(lines)
