"""Breaks a part of a service under load, mends it, and says what became of the requests."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, TypeVar

import numpy as np

from loadtest.errors import UnreachableError
from loadtest.traffic.arrivals import Due, arrivals
from loadtest.traffic.client import send_all
from loadtest.traffic.reply import Reply
from loadtest.traffic.sample import Sample
from loadtest.verdict.percentiles import percentile

T = TypeVar("T")
SETTLED_S = 1.0
"""After a part broke, so long may answers be late."""
WINDOW_S, STEP_S, AS_BEFORE = 1.0, 0.1, 0.9
"""A service has recovered where a window begins in which the share of full answers is AS_BEFORE of what it was."""
BACK_LIMIT_S = 60.0
TIMEOUT_S = 5.0
"""What has no answer then has failed."""
KILLED_S = 0.05
"""How long the end of a process may take to reach its clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What breaks, and how: `breaks` does it, `mends` undoes it after `held_s`, `is_back` says that the part runs.

    `after_s`: for how long the load goes on then. `takes_along`: whether requests in the part's hands may fail with it.
    """

    what: str
    breaks: Callable[[], object]
    mends: Callable[[], object] = lambda: None
    is_back: Callable[[], bool] = lambda: True
    held_s: float = 10.0
    after_s: float = 8.0
    takes_along: bool = False


class Load(NamedTuple):
    """What is sent while a part breaks: `rate` requests/s, from `before_s` before that on."""

    url: str
    samples: Sequence[Sample]
    rate: float
    before_s: float = 4.0


class Times(NamedTuple):
    """When a part broke, and when it was back, in seconds after the first request was due."""

    broke_s: float
    back_s: float


class Outcome(TypedDict):
    """What became of the requests while a part broke once.

    `full_share_before`: of the requests until then. `in_hands`: requests under way when it broke. `lost`: those of the
    `failed` that were not among them. `p99_ms`: of the answers, by the service's own times: before, from SETTLED_S
    seconds after the part broke, and once the service had recovered; None where there are none. `recovered_s`: from
    when the part was back; None if the service did not recover.
    """

    requests: int
    failed: int
    in_hands: int
    lost: int
    shed: int
    full_share_before: float
    degraded_share: float
    p99_ms: tuple[float | None, float | None, float | None]
    recovered_s: float | None


def break_once(load: Load, part: Part, seed: int) -> Outcome:
    """Break a part under load, once. Raises what `breaks` and `mends` raise."""
    seconds = load.before_s + part.held_s + part.after_s
    replies, start_s, times = drive(load, seconds, seed, lambda: _break(load, part))
    return outcome(replies, Times(times.broke_s - start_s, times.back_s - start_s))


def drive(load: Load, seconds: float, seed: int, meanwhile: Callable[[], T]) -> tuple[list[Reply], float, T]:
    """Send a load for so many seconds while `meanwhile` runs in a thread, from the first reply on.

    Returns what `send` returns.
    """
    return send(load, arrivals(f"poisson:{load.rate:g}", seconds, seed), meanwhile)


def send(load: Load, due_s: Due, meanwhile: Callable[[], T]) -> tuple[list[Reply], float, T]:
    """Send the samples of a load in turn when they are due, while `meanwhile` runs, from the first reply on.

    Returns the replies, the moment of time.monotonic that their times count from, and what `meanwhile` returns.
    """
    turns = itertools.islice(itertools.cycle(load.samples), len(due_s))
    begun, starts_s = threading.Event(), list[float]()

    def observe(reply: Reply) -> None:
        if not starts_s:
            starts_s.append(time.monotonic() - reply.latency_ms / 1e3 - reply.due_s)
            begun.set()

    def after_the_first() -> T:
        begun.wait()
        if not starts_s:
            raise UnreachableError("the load has ended before its first reply")
        return meanwhile()

    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(after_the_first)
        try:
            replies = send_all(load.url, list(turns), due_s, timeout_s=TIMEOUT_S, observe=observe)
        finally:
            begun.set()
        return replies, starts_s[0], running.result()


def _break(load: Load, part: Part) -> Times:
    """Break and mend; when, on the monotonic clock."""
    time.sleep(load.before_s)
    broke_s = time.monotonic()
    part.breaks()
    try:
        time.sleep(part.held_s)
    finally:
        part.mends()
    limit_s = time.monotonic() + BACK_LIMIT_S
    while not part.is_back() and time.monotonic() < limit_s:
        time.sleep(0.02)
    return Times(broke_s, time.monotonic())


def outcome(replies: Sequence[Reply], times: Times) -> Outcome:
    """The verdict on the replies to a load during which a part broke."""
    failed = [reply for reply in replies if reply.kind in ("failed", "timed out")]
    broken = [reply for reply in replies if times.broke_s <= reply.due_s < times.back_s]
    recovered_s = recovery_s(replies, times)
    settled_s = times.back_s + (recovered_s or 0.0) + WINDOW_S
    phases = ((0.0, times.broke_s), (times.broke_s + SETTLED_S, times.back_s), (settled_s, math.inf))
    before, during, after = (_p99_ms([reply for reply in replies if a <= reply.due_s < b]) for a, b in phases)
    return {
        "requests": len(replies),
        "failed": len(failed),
        "in_hands": sum(_in_hands(reply, times.broke_s) for reply in replies),
        "lost": sum(not _in_hands(reply, times.broke_s) for reply in failed),
        "shed": sum(reply.kind == "shed" for reply in replies),
        "full_share_before": round(full_share(replies, 0.0, times.broke_s), 3),
        "degraded_share": round(sum(reply.kind == "degraded" for reply in broken) / max(1, len(broken)), 3),
        "p99_ms": (before, during, after),
        "recovered_s": recovered_s,
    }


def recovery_s(replies: Sequence[Reply], times: Times) -> float | None:
    """Seconds from a part's return until full answers are as frequent as before it broke; None if they never are."""
    asked = AS_BEFORE * full_share(replies, 0.0, times.broke_s)
    last_s = max(reply.due_s for reply in replies) - WINDOW_S
    begins_s = np.arange(times.back_s, last_s, STEP_S)
    found = (begin_s for begin_s in begins_s if full_share(replies, begin_s, begin_s + WINDOW_S) >= asked)
    first_s = next(found, None)
    return None if first_s is None else round(float(first_s) - times.back_s, 1)


def full_share(replies: Sequence[Reply], begin_s: float, end_s: float) -> float:
    """The share of full answers among the requests that were due in this time."""
    due = [reply.kind == "ok" for reply in replies if begin_s <= reply.due_s < end_s]
    return sum(due) / max(1, len(due))


def _in_hands(reply: Reply, broke_s: float) -> bool:
    return reply.due_s <= broke_s + KILLED_S and reply.due_s + reply.latency_ms / 1e3 >= broke_s


def _p99_ms(replies: Sequence[Reply]) -> float | None:
    took_ms = [reply.server_ms for reply in replies if reply.answered and reply.server_ms is not None]
    return round(percentile(took_ms, 0.99), 1) if took_ms else None
