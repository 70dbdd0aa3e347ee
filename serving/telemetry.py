"""Where a request's time went, part by part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings:
    """Milliseconds by part, from the moment it is made; parts that come twice add up."""

    def __init__(self) -> None:
        self.start_s = time.monotonic()
        self._parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block as `name`, also when it raises."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0.0) + (time.monotonic() - begin) * 1e3

    def as_dict(self) -> dict[str, float]:
        """Every part so far, and `total` since the start; milliseconds."""
        total = (time.monotonic() - self.start_s) * 1e3
        return {name: round(value, 3) for name, value in {**self._parts, "total": total}.items()}

    def header(self) -> str:
        """The same for a `Server-Timing` header (W3C)."""
        return ", ".join(f"{name};dur={value}" for name, value in self.as_dict().items())
