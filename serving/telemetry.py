"""Where a request's time went, part by part; and the metrics that Prometheus reads at /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.drift import Drift


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


class DriftGauges:
    """Whether the promise of an operating point is in doubt, by modality.

    Made once in a process, inside the service: prometheus_client decides when it is first imported whether several
    processes share their metrics, and BentoML tells it so only in the worker.
    """

    def __init__(self) -> None:
        from prometheus_client import Gauge

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"sieve_drift_{name}", text, ["modality"], multiprocess_mode="mostrecent")

        self._psi = gauge("psi", "Population stability index of the screen's confidences")
        self._share = gauge("escalation_share", "Share of the last items that escalated")
        self._flag = gauge("flag", "1 when the last items have left the band that the operating point states")
        self._items = gauge("items", "How many of the last items are looked at; with too few the flag says nothing")

    def teller(self, modality: str) -> Callable[[Drift], None]:
        """A function that sets the gauges of `modality`."""

        def tell(drift: Drift) -> None:
            self._psi.labels(modality).set(drift.psi)
            self._share.labels(modality).set(drift.escalation_share)
            self._flag.labels(modality).set(1 if drift.drifted else 0)
            self._items.labels(modality).set(drift.n)

        return tell
