"""Drive a service with the plan's arrivals."""

from __future__ import annotations

import math

from loadtest.errors import ArrivalsError
from loadtest.measuring.known import Known
from loadtest.pages.live import Live
from loadtest.traffic.arrivals import arrivals, lasting_s
from loadtest.traffic.client import send_all
from loadtest.traffic.plan import Plan
from loadtest.traffic.reply import Reply
from loadtest.traffic.workload import draw


def drive(
    plan: Plan, known: Known, seconds: float, *, seed: int, title: str, most_s: float = math.inf
) -> tuple[list[Reply], float]:
    """Send the plan's arrivals for so many seconds, with progress under `title` on a terminal.

    What is due after `most_s` is left out. The replies by ascending due time, and the length of the run in seconds,
    shorter where a replayed file ends early. Raises ArrivalsError where no request is due.
    """
    due_s = arrivals(plan.arrivals, seconds, seed)
    lasts_s = lasting_s(plan.arrivals, due_s, seconds)
    due_s = due_s[due_s < most_s]
    if not len(due_s):
        raise ArrivalsError(f"{plan.arrivals} has no request in {seconds:g} s; ask for more of them, or for longer")
    samples = draw(known.samples, plan.mix, len(due_s), seed)
    with Live(title, len(due_s)) as live:
        replies = send_all(
            plan.url,
            samples,
            due_s,
            timeout_s=plan.timeout_s,
            observe=live.observe,
            credentials=plan.credentials,
        )
    return sorted(replies, key=lambda reply: reply.due_s), min(most_s, lasts_s)
