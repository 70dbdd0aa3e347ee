"""An open-loop client: requests leave when they are due (a Poisson process), whether the ones before are back or not.

So a server that stalls is charged for all that it kept waiting (coordinated omission, Tene 2013): latency counts from
the moment a request was due.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: when it was due (seconds from the start), how long it took from then, and what came."""

    due_s: float
    latency_ms: float
    server_ms: float | None
    status: int
    stage: str | None
    degraded: str | None


async def open_loop(
    url: str,
    body: Mapping[str, Any],
    *,
    per_s: float,
    seconds: float,
    seed: int = 1,
    headers: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Send `per_s` requests a second for so many seconds. Status 0: no answer came."""
    rng, due, at = random.Random(seed), list[float](), 0.0
    while (at := at + rng.expovariate(per_s)) < seconds:
        due.append(at)
    outcomes: list[Outcome] = []
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
    async with aiohttp.ClientSession(connector=connector, headers=dict(headers or {})) as session:
        start = time.monotonic() + 0.1

        async def send(due_s: float) -> None:
            status, stage, degraded, server_ms = 0, None, None, None
            try:
                async with session.post(url, json=body) as reply:
                    answer = await reply.json()
                    status, stage, degraded = reply.status, answer.get("stage"), answer.get("degraded")
                    server_ms = server_total_ms(reply.headers.get("Server-Timing", ""))
            except (aiohttp.ClientError, TimeoutError, OSError):
                status = 0
            latency_ms = (time.monotonic() - start - due_s) * 1e3
            outcomes.append(Outcome(due_s, latency_ms, server_ms, status, stage, degraded))

        async with asyncio.TaskGroup() as group:
            for due_s in due:
                await asyncio.sleep(max(0.0, start + due_s - time.monotonic()))
                group.create_task(send(due_s))
    return outcomes


def server_total_ms(header: str) -> float | None:
    """The part `total` of a Server-Timing header; None where there is none."""
    found = re.search(r"\btotal;dur=([0-9.]+)", header)
    return float(found[1]) if found else None


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]
