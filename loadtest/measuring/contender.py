"""Services that are measured against each other: how each is started, and how much it can take."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtest.errors import ContenderError
from loadtest.measuring.drive import drive
from loadtest.measuring.known import Known, look
from loadtest.measuring.search import MAX_RUNS, Found, highest_rate
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.plan import Plan
from loadtest.traffic.process import running
from loadtest.traffic.reply import Reply
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import Result, result_of

MIN_REQUESTS, MIN_S, MAX_S = 400, 2.5, 8.0
"""A run lasts until MIN_REQUESTS were due, within these seconds; fewer requests give no p99."""
CONFIRM_REQUESTS, CONFIRM_MIN_S, CONFIRM_MAX_S = 2_000, 5.0, 20.0
"""The same of a run that confirms a rate: its p99 has 20 requests beyond it, and an interval."""
CONFIRM_SEED = 1_000
"""Added to the seed of a search: a rate is confirmed by other requests than those that it was found with."""
DRAIN_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """How to start a service. `line`: its command, in which {port} stands for the port. `ready`: a path that answers
    200 once the service is ready. `variables`: added to its environment. `folder`: its working directory.
    """

    name: str
    line: tuple[str, ...]
    ready: str = "/readyz"
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    @contextlib.contextmanager
    def served(self, plan: Plan, objective: Objective, log: Path) -> Iterator[Subject]:
        """Start the service and get to know it; it ends with the block. Raises NotStartedError, UnreachableError."""
        folder = self.folder.resolve()
        with running(self.line, variables=self.variables, ready=self.ready, log=log, folder=folder) as server:
            own = replace(plan, url=server.url)
            known = look(own)
            yield Subject(own, objective, known, known.typical(own.mix, own.seed))


@dataclass(frozen=True, slots=True)
class Subject:
    """A running service. `idle`: its answers when nothing queued, in the mix of the plan."""

    plan: Plan
    objective: Objective
    known: Known
    idle: list[Reply]

    @property
    def start_per_s(self) -> float:
        """A rate to begin with: half of what one connection would reach in a closed loop."""
        return 500.0 / max(0.1, self._usual_ms)

    @property
    def _usual_ms(self) -> float:
        return math.fsum(reply.latency_ms for reply in self.idle) / len(self.idle)

    def send(self, rate: float, seed: int = 1, seconds: float | None = None) -> tuple[list[Reply], float]:
        """Poisson arrivals at a rate, once the backlog of the run before is gone: as `drive` returns them."""
        seconds = seconds or min(MAX_S, max(MIN_S, MIN_REQUESTS / rate))
        self._drain()
        self.plan.limit.require(seconds, "search for the highest rate")
        plan = replace(self.plan, arrivals=f"poisson:{rate:.6g}")
        return drive(plan, self.known, seconds, seed=seed, title=f"{rate:.0f} requests/s")

    def attempt(self, rate: float, seed: int = 1, seconds: float | None = None) -> Result:
        """One run of Poisson arrivals at a rate, judged."""
        replies, took_s = self.send(rate, seed, seconds)
        return result_of(
            replies,
            took_s,
            self.objective,
            idle=self.idle,
            network_ms=self.known.network_ms,
            max_lag_ms=self.plan.max_lag_ms,
        )

    def highest(self, start_per_s: float, *, seed: int, most: int | None = None, or_give_up: bool = False) -> Found:
        """The highest goodput that keeps the objective, found with MAX_RUNS rates and confirmed; see `highest_rate`.

        With `most`, so many rates at most are tried, and none is confirmed. Raises LimitError.
        """
        runs = most or MAX_RUNS
        return highest_rate(
            lambda rate: self.attempt(rate, seed),
            start_per_s,
            most=runs,
            or_give_up=or_give_up,
            confirm=None if most else lambda rate: self.confirm(rate, seed),
        )

    def confirm(self, rate: float, seed: int) -> Result:
        """A longer run, which passes only if the upper end of each percentile's interval keeps its limit."""
        strict = replace(self, objective=replace(self.objective, strict=True))
        seconds = min(CONFIRM_MAX_S, max(CONFIRM_MIN_S, CONFIRM_REQUESTS / rate))
        return strict.attempt(rate, seed + CONFIRM_SEED, seconds)

    def _drain(self) -> None:
        """Wait until a single request is answered about as fast as without a queue, or for DRAIN_LIMIT_S seconds."""
        limit = time.monotonic() + DRAIN_LIMIT_S
        while time.monotonic() < limit:
            (reply,) = ask_one_by_one(self.plan.url, self.known.samples[:1], credentials=self.plan.credentials)
            if reply.answered and reply.latency_ms < max(3 * self._usual_ms, 20.0):
                return
            time.sleep(0.1)


def read_contenders(path: Path) -> list[Contender]:
    """Contenders from a TOML file: [[contender]] tables with name, command, and perhaps ready, folder and variables.

    A relative folder starts at the file's own. Raises ContenderError.
    """
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["contender"]
        return [
            Contender(
                name=row["name"],
                line=tuple(shlex.split(row["command"])),
                ready=row.get("ready", "/readyz"),
                variables=row.get("variables", {}),
                folder=path.parent / row.get("folder", "."),
            )
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ContenderError(
            f"{path}: must be TOML with [[contender]] tables that have a name and a command, got {error!r}; mend it"
        ) from None
