"""Where a request's time went, part by part."""

from __future__ import annotations

import time
from collections.abc import ItemsView, Mapping


class Timings:
    """Milliseconds by part. A part lasts from the end of the one before it, so the parts add up to the whole.

    A part that comes twice is the sum of both times. `start_s` is the monotonic clock's, in seconds; None means now.
    """

    def __init__(self, start_s: float | None = None) -> None:
        self.start_s = self._last_s = time.monotonic() if start_s is None else start_s
        self._parts: dict[str, float] = {}

    def end(self, name: str) -> None:
        """End the part `name`."""
        now = time.monotonic()
        self._parts[name] = self._parts.get(name, 0.0) + (now - self._last_s) * 1e3
        self._last_s = now

    def split(self, rest: str, known: Mapping[str, float]) -> None:
        """End several parts at once: those in `known`, in milliseconds, and `rest`, which takes what remains."""
        now = time.monotonic()
        took_ms = (now - self._last_s) * 1e3
        self._last_s = now
        for name, value in known.items():
            self._parts[name] = self._parts.get(name, 0.0) + value
        self._parts[rest] = self._parts.get(rest, 0.0) + max(0.0, took_ms - sum(known.values()))

    def spent_ms(self, *names: str) -> float:
        """The sum of these parts."""
        return sum(self._parts.get(name, 0.0) for name in names)

    @property
    def total_ms(self) -> float:
        """Milliseconds from the start to the end of the last part."""
        return (self._last_s - self.start_s) * 1e3

    def parts(self) -> ItemsView[str, float]:
        """Every part and its milliseconds, in the order in which they ended."""
        return self._parts.items()

    def as_dict(self) -> dict[str, float]:
        """The milliseconds of every part and their `total`."""
        return {name: round(value, 3) for name, value in {**self._parts, "total": self.total_ms}.items()}

    def header(self, described: Mapping[str, float] | None = None) -> str:
        """The value of a `Server-Timing` header (W3C). `described`: the result of `as_dict`, if there is one."""
        return ", ".join(f"{name};dur={value}" for name, value in (described or self.as_dict()).items())
