"""Turns in the middle of their work."""

from __future__ import annotations

from serving.load.turns import Turn, Turns


def taken(work_ms: float = 10.0) -> tuple[Turns, Turn]:
    """Turns in which one unit of work takes `work_ms`, and the request that got the thread at 10 s."""
    turns = Turns()
    first = Turn("text", 1.0, 9.0, 50.0)
    turns.enter(first, 9.0)
    turns.end(first, 9.0 + work_ms / 1e3)
    turns.look()
    running = Turn("text", 1.0, 10.0, 50.0)
    assert turns.enter(running, 10.0)
    return turns, running


class Queue:
    """A queue before a thread that is busy from 10 s on; each piece of work takes a millisecond."""

    def __init__(self) -> None:
        self.turns, self._running = taken(1.0)
        self.now_s = 10.0

    def offer(self, count: int = 1000) -> int:
        """How many of `count` requests with a budget of 100 ms may stay."""
        return sum(self.turns.enter(Turn("text", 1.0, self.now_s, 100.0), self.now_s) for _ in range(count))

    def work(self) -> None:
        """Do one piece of work."""
        self.now_s += 0.001
        if self.turns.end(self._running, self.now_s):
            self.turns.next(self.now_s)
        if not self.turns.idle:
            self._running = self.turns._taken[0]

    @property
    def ahead_ms(self) -> float:
        return self.turns.ahead_ms(self.now_s)
