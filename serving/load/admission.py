"""Who may come in: a limit on requests in flight, a limit on the work ahead of a request, and two priorities.

Pure: the caller passes the time, in seconds of one monotonic clock.
"""

from __future__ import annotations

from typing import Literal

from serving.load.budget import DEFAULT_MS
from serving.load.turns import Turns

Priority = Literal["high", "normal"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal")
Reason = Literal["limit", "reserved", "deadline"]
"""Why a request is refused: too many are in flight, the rest is kept for high priority, or it would be late."""

MESSAGES: dict[Reason, str] = {
    "limit": "too many requests are in flight; come back after a while",
    "reserved": "too many requests are in flight, and the last places are for high priority; come back after a while",
    "deadline": "the work ahead of this request leaves too little of its budget; come back after a while",
}

# The last tenth of every limit is kept for requests of high priority, so that they are shed last.
NORMAL_SHARE = 0.9
# A budget counts as usual for one to two periods of this length after it was last seen.
PERIOD_S = 1.0


class Admission:
    """Counts requests in flight, at most `max_in_flight`, and refuses those that `turns` could not serve in time.

    One event loop uses it.
    """

    def __init__(self, max_in_flight: int = 256, turns: Turns | None = None) -> None:
        self.max_in_flight = max_in_flight
        self.turns = turns or Turns()
        self.in_flight = 0
        self.shed: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        self._longest_ms = self._longest_before_ms = DEFAULT_MS
        self._period_s = 0.0

    def refuses(self, priority: Priority, arrived_s: float, now_s: float) -> Reason | None:
        """Why a request is refused before its body is read; None if it may go on.

        Its budget is not known yet, so the longest budget of the last seconds counts.
        """
        if self._quiet:
            return None
        reason = self.reason(priority, arrived_s, now_s)
        if reason is not None:
            self.count_refusal(priority, reason)
        return reason

    def count_refusal(self, priority: Priority, reason: Reason) -> None:
        """A request of this priority is refused."""
        self.shed[priority] += 1
        if reason == "deadline":
            self.turns.refusals.refused += 1

    def enter(self, priority: Priority, arrived_s: float, now_s: float) -> Reason | None:
        """Let in a request whose body is there, or say why not. Call `leave` at its end if it is let in."""
        reason = self.refuses(priority, arrived_s, now_s)
        if reason is None:
            self.in_flight += 1
        return reason

    def looked(self) -> bool:
        """The event loop has found data. Whether a request might be refused: others work, or many are there."""
        self.turns.look()
        return not self._quiet

    @property
    def _quiet(self) -> bool:
        """Whether nobody works and most places are free, so that nobody is refused."""
        return self.turns.idle and 2 * self.in_flight < self.max_in_flight

    def leave(self) -> None:
        """A request ends."""
        self.in_flight -= 1

    def saw_budget(self, budget_ms: float, now_s: float) -> None:
        """A request that was let in has this budget."""
        if now_s - self._period_s > PERIOD_S:
            self._longest_before_ms, self._longest_ms = self._longest_ms, DEFAULT_MS
            self._period_s = now_s
        self._longest_ms = max(self._longest_ms, budget_ms)

    def reason(self, priority: Priority, arrived_s: float, now_s: float) -> Reason | None:
        """Why a request would be refused; None if it would be let in."""
        share = share_of(priority)
        if self.in_flight >= max(1, int(self.max_in_flight * share)):
            return "limit" if self.in_flight >= self.max_in_flight else "reserved"
        budget_ms = max(self._longest_ms, self._longest_before_ms)
        if self.turns.too_late(now_s, arrived_s, budget_ms, share=share):
            return "deadline"
        return None


def share_of(priority: Priority) -> float:
    """The part of every limit that requests of this priority may use."""
    return 1.0 if priority == "high" else NORMAL_SHARE
