"""The batch window: how long an escalation waits for others that can go along with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class BatchWindow:
    """Holds escalations back for `length_s` and calls `closes` when the time is up.

    `clock` gives seconds of a monotonic clock.
    """

    def __init__(self, length_s: float, clock: Callable[[], float], closes: Callable[[], None]) -> None:
        self._length_s, self._clock, self._closes = length_s, clock, closes
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, since_s: float) -> bool:
        """Whether an escalation that has waited since `since_s` waits on; then `closes` is called when its time is up.

        The event loop's timers may fire early, so `closes` must ask again.
        """
        left_s = since_s + self._length_s - self._clock() if self._length_s else 0.0
        if left_s <= 0:
            return False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._close)
        return True

    def _close(self) -> None:
        self._timer = None
        self._closes()
