"""Open-loop loads of the hot path's benchmark: Poisson arrivals at multiples of saturation, by the client's clock."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import send_all
from loadtest.traffic.plan import MAX_LAG_MS
from loadtest.traffic.sample import TEXT_PATH, Sample
from loadtest.verdict.steps import Step, step_of
from optimize.progress import console

BUDGET_MS = 50.0
GRACE_MS = 10.0
"""For the way there and back, which the budget does not count: an answer is in time within both together."""
LOAD_S, MAX_REQUESTS = 12.0, 40_000
"""A load lasts so many seconds, or until so many requests were due."""
TIMEOUT_S = 10.0
EXPERT_TIMES = (0.7, 1.0, 2.0, 5.0, 10.0)
SCREEN_TIMES = (0.7, 1.0, 1.2, 2.0, 5.0)


def loads(url: str, text: str, saturation: float, times: Sequence[float]) -> list[Step]:
    """One step for each of `times` saturation (requests/s), in their order."""
    body = orjson.dumps({"text": text, "budget_ms": BUDGET_MS})
    sample = Sample(TEXT_PATH, body, "application/json", "text")
    steps = []
    for each in times:
        rate = each * saturation
        seconds = min(LOAD_S, MAX_REQUESTS / rate)
        console.print(f"open loop at {each:g} times saturation, {rate:.0f} requests/s")
        due_s = arrivals(f"poisson:{rate}", seconds, seed=1)
        replies = send_all(url, [sample] * len(due_s), due_s, timeout_s=TIMEOUT_S)
        steps.append(step_of(replies, seconds, times=each, deadline_ms=BUDGET_MS + GRACE_MS, max_lag_ms=MAX_LAG_MS))
    return steps
