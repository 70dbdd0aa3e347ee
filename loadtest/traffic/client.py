"""The open-loop client: requests leave when they are due, whether the ones before are back or not.

So a server that stalls is charged for all that it kept waiting (coordinated omission, Tene 2013): latency counts from
the moment a request was due. The client keeps account of its own lateness too: a run in which it could not keep its
schedule measures the client, and is called invalid.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import resource
import time
from collections.abc import Callable, Sequence

import aiohttp
import numpy as np
from numpy.typing import NDArray

from loadtest.traffic.timer import Timer
from loadtest.traffic.workload import Sample
from loadtest.verdict.outcome import Outcome, read_answer, triage

# Below the 5 seconds of uvicorn, so that the two do not meet when a connection is given up.
KEEP_ALIVE_S = 4.0
MAX_OPEN = 5_000
"""Requests on their way at once; what is due beyond it waits, and counts as late."""
SPARE_FILES = 100
"""Files that this process may have open beside its connections."""

Observe = Callable[[Outcome], object]


def send_all(
    url: str,
    samples: Sequence[Sample],
    due_s: NDArray,  # type: ignore[type-arg]
    *,
    timeout_s: float = 2.0,
    observe: Observe = lambda outcome: None,
) -> list[Outcome]:
    """Send each sample when it is due; one outcome each, in the order in which they ended. Runs an event loop."""
    import uvloop

    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)  # a collection in the middle would be a stall of the client's own
    try:
        return uvloop.run(_send_all(url, samples, due_s, timeout_s, observe))
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _send_all(
    url: str,
    samples: Sequence[Sample],
    due_s: NDArray,  # type: ignore[type-arg]
    timeout_s: float,
    observe: Observe,
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    room = asyncio.Semaphore(_most_open())
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        start = time.monotonic() + 0.05

        async def send(sample: Sample, due: float) -> None:
            left = time.monotonic()
            try:
                outcome = await _outcome(session, url, sample, due, start, left)
            finally:
                room.release()
            outcomes.append(outcome)
            observe(outcome)

        with Timer() as timer:
            async with asyncio.TaskGroup() as group:
                for sample, due in zip(samples, due_s.tolist(), strict=True):
                    await timer.until(start + due)
                    await room.acquire()
                    group.create_task(send(sample, due))
    return outcomes


def _most_open() -> int:
    """As many connections as this process may open; one without a file would look like the server's failure."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(MAX_OPEN, max(1, soft - SPARE_FILES))


async def _outcome(
    session: aiohttp.ClientSession, url: str, sample: Sample, due: float, start: float, left: float
) -> Outcome:
    lag_ms = (left - start - due) * 1e3

    def ended(status: int, kind: str, **rest: object) -> Outcome:
        latency_ms = (time.monotonic() - start - due) * 1e3
        return Outcome(due, lag_ms, latency_ms, status, kind, sample.shape, **rest)  # type: ignore[arg-type]

    try:
        headers = {"Content-Type": sample.content_type}
        async with session.post(url + sample.path, data=sample.body, headers=headers) as reply:
            data = await reply.read()
            timing = reply.headers.get("Server-Timing", "")
            answer = read_answer(data) if reply.ok else {}
            if answer is None:
                return ended(reply.status, "failed", timing=timing)
            right = answer["label"] == sample.label if sample.label is not None and "label" in answer else None
            kind = triage(reply.status, answer.get("degraded"))
            return ended(reply.status, kind, stage=answer.get("stage"), right=right, timing=timing)
    except TimeoutError:
        return ended(0, "timed out")
    except (aiohttp.ClientError, OSError):
        return ended(0, "failed")


def ask_one_by_one(
    url: str, samples: Sequence[Sample], *, timeout_s: float = 5.0, mean_pause_s: float = 0.0, seed: int = 1
) -> list[Outcome]:
    """Each sample alone, one after the other over one connection: what the server takes where nothing queues.

    `mean_pause_s`: of random pauses before each (by `seed`), after which the server has to wake up, and its caches are
    others'.
    """
    import uvloop

    pauses_s = np.random.default_rng(seed).exponential(mean_pause_s, len(samples)) if mean_pause_s else None

    async def ask() -> list[Outcome]:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            outcomes = []
            start = time.monotonic()
            for place, sample in enumerate(samples):
                if pauses_s is not None:
                    await asyncio.sleep(pauses_s[place])
                now = time.monotonic()
                outcomes.append(await _outcome(session, url, sample, now - start, start, now))
            return outcomes

    return uvloop.run(ask())


def closed_loop(url: str, samples: Sequence[Sample], *, connections: int, seconds: float) -> tuple[int, float]:
    """Each connection sends when it has its answer: answers that came, and the seconds that it took."""
    import uvloop

    async def ask() -> tuple[int, float]:
        begin, answered = time.monotonic(), 0
        turns = iter(itertools.cycle(samples))

        async def one(session: aiohttp.ClientSession) -> None:
            nonlocal answered
            while (now := time.monotonic()) - begin < seconds:
                outcome = await _outcome(session, url, next(turns), now - begin, begin, now)
                answered += outcome.answered

        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(one(session))
        return answered, time.monotonic() - begin

    return uvloop.run(ask())
