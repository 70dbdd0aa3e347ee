"""A time limit for all that one command does."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from loadtest.errors import LimitError


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """So many `seconds` from when it is made; infinitely many are no limit."""

    seconds: float = math.inf
    began_s: float = field(default_factory=time.monotonic, compare=False)

    def left_s(self) -> float:
        """What is left of it, in seconds; 0 when it is over."""
        return max(0.0, self.began_s + self.seconds - time.monotonic())

    def require(self, seconds: float, what: str) -> None:
        """Raise LimitError unless so much is left as `what` takes."""
        if self.left_s() <= seconds:
            raise LimitError(
                f"--limit: must leave time to {what}, got {self.seconds:g} s, of which {self.left_s():.1f} were left; "
                "give more"
            )
