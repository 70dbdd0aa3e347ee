"""A circuit breaker in front of an expert: after failures in a row nobody waits for it, and now and then a call tries.

After Nygard, Release It! (2007). Own code, since the libraries that are kept (purgatory, pybreaker) guard a block of
code with their own storage and locks, and here the caller must also ask whether a call would go through.
"""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Closed: calls go through. Open: none does. Half-open: one call at a time does, and decides.

    `failures` in a row open it for `cool_down_s`, and twice as long each time the try fails, up to `max_cool_down_s`.
    The clock's reading, in seconds of a monotonic clock, is passed in.
    """

    def __init__(self, *, failures: int = 3, cool_down_s: float = 0.5, max_cool_down_s: float = 8.0) -> None:
        self._limit, self._first_cool_down_s, self._longest_s = failures, cool_down_s, max_cool_down_s
        self._failures = 0
        self._cool_down_s = cool_down_s
        self._opened_s: float | None = None
        self._trying = False

    def state(self, now_s: float) -> State:
        if self._opened_s is None:
            return "closed"
        return "half-open" if now_s >= self._opened_s + self._cool_down_s else "open"

    def would_refuse(self, now_s: float) -> bool:
        """Whether a call made now would not go through."""
        state = self.state(now_s)
        return state == "open" or (state == "half-open" and self._trying)

    def begin(self, now_s: float) -> bool:
        """Ask to make a call; whoever is told True must say `succeeded`, `failed` or `abandoned` afterwards."""
        if self.would_refuse(now_s):
            return False
        if self._opened_s is not None:
            self._trying = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._opened_s, self._trying = None, False
        self._cool_down_s = self._first_cool_down_s

    def failed(self, now_s: float) -> None:
        self._failures += 1
        if self._opened_s is not None:
            self._cool_down_s = min(2 * self._cool_down_s, self._longest_s)
        elif self._failures < self._limit:
            return
        self._opened_s, self._trying = now_s, False

    def abandoned(self) -> None:
        """The call was given up before it said anything of the expert."""
        self._trying = False
