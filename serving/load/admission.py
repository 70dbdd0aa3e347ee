"""How many requests may be in flight: a limit that follows the time they take, and two priorities.

The limit is Gradient2 of Netflix's concurrency-limits (github.com/Netflix/concurrency-limits): while requests take as
long as they did over the last hundreds, it grows by a little; when they take longer, a queue has formed somewhere, and
it shrinks by the ratio.
"""

from __future__ import annotations

from typing import Literal

Priority = Literal["high", "normal"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal")
# The last tenth of the limit is for requests of high priority, so that they are shed last.
NORMAL_SHARE = 0.9


class AdaptiveLimit:
    """A limit on requests in flight, from `lowest` to `highest`; `observe` moves it.

    `tolerance`: how many times the usual time is still no sign of a queue; and below `harmless_ms`, less than half of
    the default budget, a queue does no harm. `headroom`: what it tries to grow by.
    """

    def __init__(
        self,
        *,
        initial: float = 128,
        lowest: float = 8,
        highest: float = 256,
        tolerance: float = 1.5,
        harmless_ms: float = 20,
        headroom: float = 4,
        smoothing: float = 0.2,
        window: int = 600,
    ) -> None:
        self.value = float(initial)
        self._lowest, self._highest = lowest, highest
        self._tolerance, self._harmless_ms = tolerance, harmless_ms
        self._headroom, self._smoothing = headroom, smoothing
        self._weight = 2 / (window + 1)
        self._usual_ms: float | None = None

    def observe(self, took_ms: float, in_flight: int) -> None:
        """Take a finished request into account; `in_flight` counts those beside it, itself included."""
        took_ms = max(took_ms, 1e-3)
        if self._usual_ms is None:
            self._usual_ms = took_ms
        self._usual_ms += self._weight * (took_ms - self._usual_ms)
        if self._usual_ms > 2 * took_ms:  # after a bad time: do not take it for the rule for hundreds of requests
            self._usual_ms *= 0.95
        if in_flight < self.value / 2:
            return  # too little goes on to learn anything of the limit
        fine_ms = max(self._tolerance * self._usual_ms, self._harmless_ms)
        gradient = max(0.5, min(1.0, fine_ms / took_ms))
        wanted = self.value * gradient + self._headroom
        moved = self.value + self._smoothing * (wanted - self.value)
        self.value = min(self._highest, max(self._lowest, moved))


class Admission:
    """Counts requests in flight and refuses those beyond the limit. One event loop uses it."""

    def __init__(self, limit: AdaptiveLimit | None = None) -> None:
        self.limit = limit or AdaptiveLimit()
        self.in_flight = 0
        self.shed: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)

    def enter(self, priority: Priority) -> bool:
        """Whether a request may come in; whoever is told True says `leave` at its end."""
        allowed = self.limit.value * (1.0 if priority == "high" else NORMAL_SHARE)
        if self.in_flight >= max(1, int(allowed)):
            self.shed[priority] += 1
            return False
        self.in_flight += 1
        return True

    def reason(self) -> Literal["limit", "reserved"]:
        """Why a request was just refused: the limit is reached, or what is left of it is for high priority."""
        return "limit" if self.in_flight >= max(1, int(self.limit.value)) else "reserved"

    def leave(self, took_ms: float | None) -> None:
        """A request ends; `took_ms`: its time in this process, None where that says nothing of the load."""
        if took_ms is not None:
            self.limit.observe(took_ms, self.in_flight)
        self.in_flight -= 1
