"""A circuit breaker in front of an expert: after several failures in a row, calls fail at once for a while.

After Nygard, Release It! (2007). The maintained libraries (purgatory, pybreaker) guard a block of code, with their own
storage and locks. Here the caller must also ask whether a call would go through.
"""

from __future__ import annotations

from typing import Literal, NewType

State = Literal["closed", "open", "half-open"]
Token = NewType("Token", int)
"""Says which state of the breaker a call began in."""


class CircuitBreaker:
    """Closed: calls go through. Open: none does. Half-open: one call at a time does, and its result decides.

    `failures` in a row open it for `cool_down_s`. Each failure while it is half-open doubles that time, up to
    `max_cool_down_s`. Calls that began before it opened, closed or let its last call through no longer count when they
    end. The caller passes the time, in seconds of a monotonic clock.
    """

    def __init__(self, *, failures: int = 3, cool_down_s: float = 0.5, max_cool_down_s: float = 2.0) -> None:
        self._limit, self._first_cool_down_s, self._longest_s = failures, cool_down_s, max_cool_down_s
        self._failures = 0
        self._cool_down_s = cool_down_s
        self._opened_s: float | None = None
        self._trying = False
        self._current = Token(0)

    def state(self, now_s: float) -> State:
        """The state now; an open breaker becomes half-open by itself."""
        if self._opened_s is None:
            return "closed"
        return "half-open" if now_s >= self._opened_s + self._cool_down_s else "open"

    def would_refuse(self, now_s: float) -> bool:
        """Whether a call made now would not go through."""
        state = self.state(now_s)
        return state == "open" or (state == "half-open" and self._trying)

    def begin(self, now_s: float) -> Token | None:
        """A token if a call may start. The caller must give it to `succeeded`, `failed` or `abandoned` at its end."""
        if self.would_refuse(now_s):
            return None
        if self._opened_s is not None:
            self._trying = True
            self._outdate()
        return self._current

    def succeeded(self, token: Token) -> None:
        """A call was answered: close the breaker."""
        if token != self._current:
            return
        if self._opened_s is not None:
            self._outdate()
        self._failures = 0
        self._opened_s, self._trying = None, False
        self._cool_down_s = self._first_cool_down_s

    def failed(self, token: Token, now_s: float) -> None:
        """A call failed: count it, and open the breaker if there were enough of them."""
        if token != self._current:
            return
        self._failures += 1
        if self._opened_s is not None:
            self._cool_down_s = min(2 * self._cool_down_s, self._longest_s)
        elif self._failures < self._limit:
            return
        self._outdate()
        self._opened_s, self._trying = now_s, False

    def abandoned(self, token: Token) -> None:
        """A call ended without a verdict on the expert: cancelled, or refused because of load."""
        if token == self._current:
            self._trying = False

    def _outdate(self) -> None:
        self._current = Token(self._current + 1)
