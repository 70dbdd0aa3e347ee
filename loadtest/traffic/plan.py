"""What a load test sends, and when: the workload, the arrivals and the limits of the client."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.limit import TimeLimit
from loadtest.traffic.sample import Encoding, Protocol, Way
from loadtest.traffic.workload import Mix

MAX_LAG_MS = 5.0
"""Largest p99 of the generator's lag in a valid run; beyond it the figures describe the generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load test as it was ordered. `seed` decides texts, mix and arrivals.

    `grpc`: where the service takes calls over gRPC, as HOST:PORT; empty where that is unknown. `limit`: of all that is
    done with the plan.
    """

    url: str
    arrivals: str = "poisson:100"
    seconds: float = 60.0
    warm_up_s: float = 5.0
    texts: Path | None = None
    images: Path | None = None
    encoding: Encoding = "raw"
    protocol: Protocol = "rest"
    grpc: str = ""
    mix: Mix = field(default_factory=Mix)
    budget_ms: float | None = 50.0
    timeout_s: float = 2.0
    seed: int = 1
    payloads: bool = False
    max_lag_ms: float = MAX_LAG_MS
    credentials: Credentials = NO_CREDENTIALS
    limit: TimeLimit = field(default_factory=TimeLimit)

    @property
    def way(self) -> Way:
        """How each item is sent."""
        grpc = self.grpc if self.protocol == "grpc" else ""
        return Way(protocol=self.protocol, encoding=self.encoding, grpc=grpc)

    def as_dict(self) -> dict[str, object]:
        """For JSON; files by name only, because a path belongs to one machine."""
        names = {"texts": self.texts and self.texts.name, "images": self.images and self.images.name}
        kind, _, rest = self.arrivals.partition(":")
        arrivals = f"replay:{Path(rest).name}" if kind == "replay" else self.arrivals
        limited = {key: value for key, value in asdict(self).items() if key != "limit"}
        limit_s = self.limit.seconds if math.isfinite(self.limit.seconds) else None
        return limited | names | {"arrivals": arrivals, "credentials": self.credentials.as_dict(), "limit_s": limit_s}
