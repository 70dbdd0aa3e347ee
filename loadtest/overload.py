"""The verb `overload`: steps below and beyond saturation, and what became of the requests of each.

Saturation is the highest rate at which KEPT_UP of the requests get a full answer in time. A search finds it first, or
it is given. In each step requests come at random times (Poisson), whether earlier ones are back or not, and their
latency counts from when they were due.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from loadtest.errors import SaturationError
from loadtest.machine import machine
from loadtest.measuring.contender import Subject
from loadtest.measuring.known import look
from loadtest.measuring.search import highest_rate
from loadtest.pages.live import console
from loadtest.traffic.plan import Plan
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import Result
from loadtest.verdict.steps import OverloadResult, Saturation, judge_steps, step_of

KEPT_UP = 0.95
"""Share of full answers at which a service keeps up; below it, a queue grows or requests are refused."""
SEARCHED = 12
"""Rates that the search tries at most, each twice at most and for 8 seconds at most."""


def overload(
    plan: Plan,
    *,
    saturation_per_s: float | None = None,
    deadline_ms: float,
    steps: Sequence[float],
    most_requests: int,
) -> OverloadResult:
    """Drive the service at `plan.url` for `plan.seconds` a step, with `most_requests` in a step at most.

    `saturation_per_s`: in requests/s; searched for without it. `deadline_ms`: until when an answer is in time, by the
    client's clock. `steps`: multiples of saturation. Raises UnreachableError, WorkloadError, and SaturationError where
    no rate is kept up with.
    """
    known = look(plan)
    objective = Objective(limits_ms={"p99": deadline_ms})
    subject = Subject(plan, objective, known, known.typical(plan.mix, plan.seed))
    began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    if saturation_per_s is None:
        saturation = find_saturation(subject)
    else:
        saturation = Saturation(per_s=saturation_per_s, found="given")
    console.print(f"saturation: {saturation['per_s']:.0f} requests/s ({saturation['found']})")
    rows = []
    for number, times in enumerate(steps, start=1):
        rate = times * saturation["per_s"]
        seconds = min(plan.seconds, most_requests / rate)
        console.print(f"step {number} of {len(steps)}: {times:g} times saturation, {rate:.0f} requests/s")
        replies, took_s = subject.send(rate, seed=plan.seed + number, seconds=seconds)
        rows.append(step_of(replies, took_s, times=times, deadline_ms=deadline_ms, max_lag_ms=plan.max_lag_ms))
    judged, valid = judge_steps(rows), all(row["valid"] for row in rows)
    dropped = ("arrivals", "warm_up_s", "payloads", "max_lag_ms")
    return {
        "began": began,
        "plan": {key: value for key, value in plan.as_dict().items() if key not in dropped},
        "deadline_ms": deadline_ms,
        "lag_limit_ms": plan.max_lag_ms,
        "saturation": saturation,
        "steps": rows,
        "objective": judged,
        "valid": valid,
        "passed": valid and all(row["holds"] for row in judged),
        "machine": machine(),
    }


def find_saturation(subject: Subject) -> Saturation:
    """The highest rate that the service keeps up with; see `highest_rate` for how it is found."""

    def attempt(rate: float) -> Result:
        result = subject.attempt(rate)
        return {**result, "passed": result["valid"] and _full_share(result) >= KEPT_UP}

    found = highest_rate(attempt, subject.start_per_s, most=SEARCHED)
    if not found.rate_per_s:
        least = found.broken or found.first
        late = "" if least["valid"] else f" while the generator was {least['generator_lag_p99_ms']:.0f} ms late"
        raise SaturationError(
            f"{subject.plan.url} must give {KEPT_UP:.0%} full answers at some rate, got {_full_share(least):.0%} at "
            f"{least['figures']['offered_per_s']:g}/s{late}; look at its log and at this machine's other work, or name "
            "the rate with --saturation"
        )
    by_generator = found.broken is not None and not found.broken["valid"]
    return {"per_s": round(found.rate_per_s, 2), "found": "the generator's" if by_generator else "searched"}


def _full_share(result: Result) -> float:
    return result["figures"]["full"] / max(1, result["figures"]["requests"])
