"""The open-loop client: each request leaves when it is due, whether earlier ones are back or not.

Latency counts from the due time, so a server that stalls is charged for every request that it delayed (coordinated
omission, Tene 2013). The client also measures how late it sends. A run in which it missed its schedule measures the
client and is invalid.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import resource
import time
from collections.abc import Callable, Sequence

import numpy as np
import uvloop

from loadtest.traffic.arrivals import Due
from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.limit import TimeLimit
from loadtest.traffic.reply import Kind, Reply, triage
from loadtest.traffic.sample import Sample, read
from loadtest.traffic.sending import Sending
from loadtest.traffic.timer import Timer

MAX_OPEN = 5_000
"""Requests in flight at most; further ones wait, and count as late."""
CLOSED_TIMEOUT_S = 60.0
SPARE_FILES = 100
"""Files that this process may have open beside its connections."""

Observe = Callable[[Reply], object]


def send_all(
    url: str,
    samples: Sequence[Sample],
    due_s: Due,
    *,
    timeout_s: float = 2.0,
    observe: Observe = lambda reply: None,
    credentials: Credentials = NO_CREDENTIALS,
) -> list[Reply]:
    """Send each sample when it is due; one reply each, in the order in which they ended. Runs an event loop."""
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    # Small collections often, and no full one: it would stall the client, which would then send a burst.
    gc.set_threshold(1_000, 20, 1_000_000)
    try:
        return uvloop.run(_send_all(Sending(url, credentials), samples, due_s, timeout_s, observe))
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _send_all(
    opened: Sending, samples: Sequence[Sample], due_s: Due, timeout_s: float, observe: Observe
) -> list[Reply]:
    replies: list[Reply] = []
    room = asyncio.Semaphore(_most_open())
    start = time.monotonic() + 0.05
    with Timer() as timer:
        async with opened as sending, asyncio.TaskGroup() as group:

            async def send(sample: Sample, due: float) -> None:
                left = time.monotonic()
                try:
                    reply = await _ask(sending, sample, due, start, left, timeout_s)
                finally:
                    room.release()
                replies.append(reply)
                observe(reply)

            for sample, due in zip(samples, due_s.tolist(), strict=True):
                await timer.until(start + due)
                await room.acquire()
                group.create_task(send(sample, due))
    return replies


def _most_open() -> int:
    """How many connections this process may open. A connection without a file would look like the server's failure."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(MAX_OPEN, max(1, soft - SPARE_FILES))


async def _ask(sending: Sending, sample: Sample, due: float, start: float, left: float, timeout_s: float) -> Reply:
    """Send one request and wait for its end. `due`: seconds after `start`; `start` and `left`: of time.monotonic."""
    status, timing, received_bytes, reading_us = 0, "", 0, 0.0
    kind: Kind = "failed"
    answer: dict[str, object] | None = None
    try:
        response = await sending.send(sample, timeout_s)
        status, timing, received_bytes = response.status, response.timing, len(response.body)
        begin_s = time.perf_counter()
        answer = read(sample, response) if 200 <= status < 300 else {}
        reading_us = (time.perf_counter() - begin_s) * 1e6
        kind = "failed" if answer is None else triage(status, answer.get("degraded"))
    except TimeoutError:
        kind = "timed out"
    except OSError:
        kind = "failed"
    answer = answer or {}
    latency_ms = (time.monotonic() - start - due) * 1e3
    stage, known = answer.get("stage"), sample.label is not None and "label" in answer
    return Reply(
        due_s=due,
        lag_ms=(left - start - due) * 1e3,
        latency_ms=latency_ms,
        status=status,
        kind=kind,
        shape=sample.shape,
        stage=stage if isinstance(stage, str) else None,
        right=answer["label"] == sample.label if known else None,
        timing=timing,
        received_bytes=received_bytes,
        reading_us=reading_us,
    )


def ask_one_by_one(
    url: str,
    samples: Sequence[Sample],
    *,
    timeout_s: float = 5.0,
    mean_pause_s: float = 0.0,
    seed: int = 1,
    credentials: Credentials = NO_CREDENTIALS,
    limit: TimeLimit | None = None,
) -> list[Reply]:
    """Send the samples one after the other over one connection: the server's times without any queue.

    `mean_pause_s`: mean of a random (exponential) pause before each, drawn by `seed`. After a pause the server must
    wake up, and other processes have used its caches. Raises LimitError where `limit` ends before the last is sent.
    """
    pauses_s = np.random.default_rng(seed).exponential(mean_pause_s, len(samples)) if mean_pause_s else None

    async def ask() -> list[Reply]:
        async with Sending(url, credentials) as sending:
            replies = []
            start = time.monotonic()
            for place, sample in enumerate(samples):
                if limit is not None:
                    limit.require(0.0, "get to know the service")
                if pauses_s is not None:
                    await asyncio.sleep(pauses_s[place])
                now = time.monotonic()
                replies.append(await _ask(sending, sample, now - start, start, now, timeout_s))
            return replies

    return uvloop.run(ask())


def closed_loop(
    url: str, samples: Sequence[Sample], *, connections: int, seconds: float, credentials: Credentials = NO_CREDENTIALS
) -> tuple[int, float]:
    """Let each connection send its next request when it has its answer; how many answers came, and in what seconds."""

    async def ask() -> tuple[int, float]:
        begin, answered = time.monotonic(), 0
        turns = iter(itertools.cycle(samples))

        async def one(kept: Sending) -> None:
            nonlocal answered
            while (now := time.monotonic()) - begin < seconds:
                reply = await _ask(kept, next(turns), now - begin, begin, now, CLOSED_TIMEOUT_S)
                answered += reply.answered

        async with Sending(url, credentials) as kept, asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(one(kept))
        return answered, time.monotonic() - begin

    return uvloop.run(ask())
