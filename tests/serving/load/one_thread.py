"""A server with one thread in virtual time: Poisson arrivals, an event loop that looks between two slices of work."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from serving.load.admission import Admission
from serving.load.turns import Turn

SEEN_MS, SHED_MS = 0.1, 0.03
"""What the thread needs to read a request, and to refuse one unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Poisson arrivals at `load` times what the server can answer, each with one of the `budgets_ms`."""

    load: float
    work_ms: float = 2.5
    budgets_ms: Sequence[float] = (50.0,)
    seconds: float = 10.0
    burst: int = 1
    spread: float = 0.3
    stall_share: float = 0.0
    """The share of requests in whose work the process is stopped for 100 ms."""

    @property
    def capacity(self) -> float:
        """Requests a second of a thread that never idles."""
        return 1e3 / (self.work_ms * (1 + self.spread**2 / 2) + SEEN_MS)


@dataclass(slots=True)
class Outcome:
    """Milliseconds from arrival to answer with the budget, and from arrival to refusal."""

    seconds: float
    answers: list[tuple[float, float]] = field(default_factory=list)
    shed_ms: list[float] = field(default_factory=list)
    dropped: int = 0
    """Those among the refused that had waited for the thread."""

    @property
    def goodput(self) -> float:
        """Answers inside their budget a second."""
        return sum(ms <= budget_ms for ms, budget_ms in self.answers) / self.seconds

    def late_share(self, grace_ms: float) -> float:
        """The share of answers that came later than the budget and `grace_ms`."""
        return sum(ms > budget_ms + grace_ms for ms, budget_ms in self.answers) / max(1, len(self.answers))


class OneThread:
    """Serves `traffic`, drawn from `seed`."""

    def __init__(self, traffic: Traffic, seed: int) -> None:
        self._traffic, self._rng = traffic, random.Random(seed)
        self._admission, self._now_s = Admission(), 0.0
        self._arrivals = self._drawn()
        self._next = 0
        self.outcome = Outcome(traffic.seconds)

    def run(self) -> Outcome:
        """What became of every request."""
        turns = self._admission.turns
        while True:
            running = self._looked()
            if not running and turns.waiting:
                running = self._passed_on()
            if running:
                for turn in running:
                    self._work(turn)
                    turns.end(turn, self._now_s)
            elif self._next == len(self._arrivals):
                assert self._admission.in_flight == 0
                return self.outcome
            else:
                self._now_s = max(self._now_s, self._arrivals[self._next][0])

    def _drawn(self) -> list[tuple[float, float]]:
        traffic, at_s, drawn = self._traffic, 0.0, []
        while at_s < traffic.seconds:
            at_s += self._rng.expovariate(traffic.load * traffic.capacity / traffic.burst)
            drawn += [(at_s, self._rng.choice(traffic.budgets_ms)) for _ in range(traffic.burst)]
        return drawn

    def _looked(self) -> list[Turn]:
        """Read what has arrived; those that get the free thread at once."""
        granted, turns = [], self._admission.turns
        turns.look()
        while self._next < len(self._arrivals) and self._arrivals[self._next][0] <= self._now_s:
            arrived_s, budget_ms = self._arrivals[self._next]
            self._next += 1
            if self._admission.enter("normal", arrived_s, self._now_s) is not None:
                self.outcome.shed_ms.append((self._now_s - arrived_s) * 1e3)
                self._now_s += SHED_MS / 1e3
                continue
            self._now_s += SEEN_MS / 1e3
            self._admission.saw_budget(budget_ms, self._now_s)
            turn = Turn("text", 1.0, arrived_s, budget_ms)
            if not turns.enter(turn, self._now_s, 0.9):
                self._refused(turn)
            elif not turns.waiting:
                granted.append(turn)
        return granted

    def _work(self, turn: Turn) -> None:
        self._now_s += self._traffic.work_ms * self._rng.lognormvariate(0, self._traffic.spread) / 1e3
        if self._rng.random() < self._traffic.stall_share:
            self._now_s += 0.1
        self.outcome.answers.append(((self._now_s - turn.start_s) * 1e3, turn.budget_ms))
        self._admission.leave()

    def _passed_on(self) -> list[Turn]:
        granted, late = self._admission.turns.next(self._now_s)
        for each in late:
            self.outcome.dropped += 1
            self._refused(each)
        return granted

    def _refused(self, turn: Turn) -> None:
        self._admission.leave()
        self.outcome.shed_ms.append((self._now_s - turn.start_s) * 1e3)
