"""An event loop in virtual time that can be interrupted between any two of its callbacks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.serving.expert.virtual import VirtualLoop


class Stepped(VirtualLoop):
    """Runs one callback at a time, and calls `between` before each. A thread works beside it."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.between: Callable[[], None] = lambda: None
        self._stops: list[tuple[float, float]] = []
        self._rng = rng
        self._in_thread_s: float | None = None

    def work(self, seconds: float) -> None:
        """Something takes so long: the event loop, unless a thread does it."""
        if self._in_thread_s is None:
            self._instant.now_s += seconds
        else:
            self._in_thread_s += seconds

    def stop_process(self, seconds: float) -> None:
        self._stops.append((self.time(), self.time() + seconds))
        self._instant.now_s += seconds

    def stopped_s(self, begin_s: float, end_s: float) -> float:
        """For how much of this time the process was stopped."""
        return sum(max(0.0, min(end_s, until_s) - max(begin_s, from_s)) for from_s, until_s in self._stops)

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        ended = self.create_future()
        self._in_thread_s = self._rng.uniform(0.0001, 0.0002)
        result, took_s, self._in_thread_s = func(*args), self._in_thread_s, None
        self.call_later(took_s, lambda: ended.done() or ended.set_result(result))
        return ended

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]  # of asyncio's own loop
        self.between()
        others = [ready.pop() for _ in range(len(ready) - 1)]
        super()._run_once()  # type: ignore[misc]
        ready.extendleft(others)
