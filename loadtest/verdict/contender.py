"""Services that are measured against each other: how each is started, and how much each can take."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest.run import Known, Plan, drive, look, measured
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.process import running
from loadtest.verdict.objective import Objective
from loadtest.verdict.outcome import Outcome
from loadtest.verdict.search import MAX_RUNS, Found, highest_rate

MIN_REQUESTS, MIN_S, MAX_S = 400, 2.5, 8.0
"""An attempt lasts until so many requests were due, within these seconds: a p99 of fewer is one request's name."""
DRAIN_LIMIT_S = 30.0


class ContenderError(ValueError):
    """A file of contenders that cannot be read; the text names the rule and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """`line`: the command, in which {port} stands for the port. `ready`: the path that answers 200 when it is.
    `variables`: set for it. `folder`: where it is started.
    """

    name: str
    line: tuple[str, ...]
    ready: str = "/readyz"
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    @contextlib.contextmanager
    def served(self, plan: Plan, objective: Objective, log: Path) -> Iterator[Subject]:
        """Started, and looked at unhurried; ended afterwards."""
        folder = self.folder.resolve()
        with running(self.line, variables=self.variables, ready=self.ready, log=log, folder=folder) as server:
            own = replace(plan, url=server.url)
            known = look(own)
            yield Subject(own, objective, known, known.typical(own.mix, own.seed))


@dataclass(frozen=True, slots=True)
class Subject:
    """A contender that is up, and what is known of it; `idle`: how it answers when nothing queues."""

    plan: Plan
    objective: Objective
    known: Known
    idle: list[Outcome]

    @property
    def start_per_s(self) -> float:
        """A rate to begin with: half of what one request after the other would give."""
        return 500.0 / max(0.1, sum(o.latency_ms for o in self.idle) / len(self.idle))

    def attempt(self, rate: float, seed: int = 1, seconds: float | None = None) -> dict[str, Any]:
        """One run of Poisson arrivals at a rate, once the backlog of the one before is gone."""
        self._drain()
        seconds = seconds or min(MAX_S, max(MIN_S, MIN_REQUESTS / rate))
        plan = replace(self.plan, arrivals=f"poisson:{rate:.6g}")
        outcomes, took = drive(plan, self.known, seconds, seed=seed, title=f"{rate:.0f} requests/s")
        return measured(outcomes, took, self.objective, self.known, self.idle)

    def highest(self, start_per_s: float, *, seed: int, most: int | None = None, or_give_up: bool = False) -> Found:
        """The highest goodput at which it keeps the objective, after `most` runs or `MAX_RUNS`."""
        runs = most or MAX_RUNS
        return highest_rate(lambda rate: self.attempt(rate, seed), start_per_s, most=runs, or_give_up=or_give_up)

    def _drain(self) -> None:
        """Wait until a lone request is answered as one, or not much longer than anybody would."""
        usual_ms = math.fsum(o.latency_ms for o in self.idle) / len(self.idle)
        limit = time.monotonic() + DRAIN_LIMIT_S
        while time.monotonic() < limit:
            (outcome,) = ask_one_by_one(self.plan.url, self.known.samples[:1])
            if outcome.answered and outcome.latency_ms < max(3 * usual_ms, 20.0):
                return
            time.sleep(0.1)


def read_contenders(path: Path) -> list[Contender]:
    """Contenders of a TOML file: [[contender]] with name, command, and perhaps ready, folder and variables."""
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
