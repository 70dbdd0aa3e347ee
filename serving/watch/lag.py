"""Watches an event loop: how late it gets to what is due.

Whatever holds the loop delays every request. A timer samples it: the later the timer, the longer the hold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.watch.tally import Tally

EVERY_S = 0.05
"""How often the loop is sampled. A process that idles wakes for each sample, which costs it about 0.1 ms."""
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
FLUSH_EVERY = 10


class LoopLag:
    """The lag of the event loop of `process`: api, text-expert or image-expert."""

    def __init__(self, process: str) -> None:
        from prometheus_client import Histogram

        seconds = Histogram(
            "sieve_event_loop_lag_seconds", "How late the event loop gets to a timer", ["process"], buckets=BUCKETS_S
        )
        self._tally = Tally(seconds.labels(process))
        self._samples = 0
        self._due_s = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample the running event loop during the block."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def sample() -> None:
            nonlocal timer
            now_s = time.monotonic()
            self._tally.observe(max(0.0, now_s - self._due_s))
            self._samples += 1
            if self._samples % FLUSH_EVERY == 0:
                self._tally.flush()
            self._due_s = now_s + EVERY_S
            timer = loop.call_later(EVERY_S, sample)

        self._due_s = time.monotonic() + EVERY_S
        timer = loop.call_later(EVERY_S, sample)
        try:
            yield
        finally:
            timer.cancel()

    def flush(self) -> None:
        """Hand what was sampled to prometheus_client. Call it in the event loop."""
        self._tally.flush()
