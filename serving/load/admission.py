"""How many requests may be in flight: a limit that follows their latency, and two priorities.

The limit is Gradient2 of Netflix's concurrency-limits (github.com/Netflix/concurrency-limits). While requests take as
long as the last few hundred did, the limit grows slowly. When they take longer, a queue has formed somewhere, and the
limit shrinks by the ratio of the two times.
"""

from __future__ import annotations

from typing import Literal

Priority = Literal["high", "normal"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal")
# The last tenth of the limit is kept for requests of high priority, so that they are shed last.
NORMAL_SHARE = 0.9


class AdaptiveLimit:
    """A limit on requests in flight, from `lowest` to `highest`; `observe` moves it.

    A request that takes up to `tolerance` times the usual time is no sign of a queue, nor is one below `harmless_ms`
    (less than half of the default budget). Each step tries to grow by `headroom` and moves by the share `smoothing`.
    The usual time is a mean over about `window` requests.
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
        """Learn from a request that has ended; `in_flight` is the number of requests in flight, with this one."""
        took_ms = max(took_ms, 1e-3)
        if self._usual_ms is None:
            self._usual_ms = took_ms
        self._usual_ms += self._weight * (took_ms - self._usual_ms)
        if self._usual_ms > 2 * took_ms:  # after an overload: come down faster than the mean does
            self._usual_ms *= 0.95
        if in_flight < self.value / 2:
            return  # too few requests to learn about the limit
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
        """Whether a request may come in. Call `leave` at its end if it may."""
        allowed = self.limit.value * (1.0 if priority == "high" else NORMAL_SHARE)
        if self.in_flight >= max(1, int(allowed)):
            self.shed[priority] += 1
            return False
        self.in_flight += 1
        return True

    def reason(self) -> Literal["limit", "reserved"]:
        """Why a request was just refused: the limit is reached, or the rest of it is kept for high priority."""
        return "limit" if self.in_flight >= max(1, int(self.limit.value)) else "reserved"

    def leave(self, took_ms: float | None) -> None:
        """A request ends. `took_ms`: its time in this process; None if that says nothing about the load."""
        if took_ms is not None:
            self.limit.observe(took_ms, self.in_flight)
        self.in_flight -= 1
