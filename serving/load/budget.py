"""Deadline arithmetic. Pure: the caller passes the time, in seconds of one monotonic clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.errors import InvalidInputError, kind_of

DEFAULT_MS = 50.0
MAX_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The time that a request has for its answer: `budget_ms` from `start_s` on."""

    start_s: float
    budget_ms: float

    @property
    def deadline_s(self) -> float:
        """When the answer must be out."""
        return self.start_s + self.budget_ms / 1e3

    def spent_ms(self, now_s: float) -> float:
        """What has passed since the start."""
        return (now_s - self.start_s) * 1e3

    def left_ms(self, now_s: float) -> float:
        """What is left; 0 when the deadline has passed."""
        return max(0.0, self.budget_ms - self.spent_ms(now_s))


def check_budget_ms(value: object, field: str = "budget_ms") -> float:
    """Check a budget in milliseconds that a client states; None means the default. Raises InvalidInputError."""
    if value is None:
        return DEFAULT_MS
    rule = f"must be a positive number of milliseconds, at most {MAX_MS:,.0f}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(field, f"{rule}, got {kind_of(value)}; send a number or leave it out")
    if not math.isfinite(value) or value <= 0:
        raise InvalidInputError(field, f"{rule}, got a number that is not; leave it out for {DEFAULT_MS:.0f}")
    if value > MAX_MS:
        raise InvalidInputError(field, f"{rule}, got a larger number; leave it out for {DEFAULT_MS:.0f}")
    return float(value)
