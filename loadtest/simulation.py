"""A queueing simulation of one replica: API processes, an expert that batches, cores that they share.

What it knows comes from measured tables alone. A request takes its turn at an API process; with the escalation share it
then waits for the expert, which runs all that waits in one batch; when the budget ends first, it is answered degraded.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

Events = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Milliseconds as measured where nothing queues. `api_ms`: an API process's work on one request, a sample of many.
    `network_ms`: outside the service. `batch_ms`: of the expert by batch size; `batch_spread`: measured over median, a
    sample. `hop_ms`: to the expert and back. `cores`: that all processes share; `generator_ms`: the load generator's
    own work on a request where it shares them too, else 0.
    """

    api_ms: Sequence[float]
    network_ms: float
    batch_ms: dict[int, float]
    batch_spread: Sequence[float]
    hop_ms: float
    cores: int
    generator_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What comes, and what answers: `rate_per_s` at one replica with so many API `workers`."""

    rate_per_s: float
    escalation_share: float
    budget_ms: float = 50.0
    workers: int = 1
    max_batch_size: int = 32
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """Latencies in ms, in order of arrival, and which of them were degraded."""

    latency_ms: NDArray[np.float64]
    degraded: NDArray[np.bool_]


class Replica:
    """One replica in a SimPy environment whose time is in milliseconds."""

    def __init__(self, env: simpy.Environment, tables: Tables, load: Load, seed: int) -> None:
        self._env, self._tables, self._load = env, tables, load
        self._rng = np.random.default_rng(seed)
        self._api = simpy.Resource(env, load.workers)
        self._cores = simpy.Resource(env, tables.cores)
        self._waiting: list[simpy.Event] = []
        self._work = simpy.Store(env)
        self._sizes = np.array(sorted(tables.batch_ms))
        self._times = np.array([tables.batch_ms[size] for size in self._sizes])
        self.latency_ms: list[float] = []
        self.degraded: list[bool] = []
        env.process(self._expert())

    def arrivals(self) -> Events:
        """Poisson arrivals until the load's seconds are over."""
        while self._env.now < self._load.seconds * 1e3:
            yield self._env.timeout(self._rng.exponential(1e3 / self._load.rate_per_s))
            self._env.process(self._request())

    def _request(self) -> Events:
        arrived = self._env.now
        if self._tables.generator_ms:
            yield from self._on_a_core(self._tables.generator_ms)
        with self._api.request() as turn:
            yield turn
            yield from self._on_a_core(self._tables.api_ms[self._rng.integers(len(self._tables.api_ms))])
        degraded = False
        if self._rng.random() < self._load.escalation_share:
            answered = self._env.event()
            self._waiting.append(answered)
            self._work.put(True)
            left = max(0.0, self._load.budget_ms - (self._env.now - arrived))
            yield answered | self._env.timeout(left)
            degraded = not answered.triggered
        self.latency_ms.append(self._env.now - arrived + self._tables.network_ms)
        self.degraded.append(degraded)

    def _expert(self) -> Events:
        while True:
            yield self._work.get()
            batch = self._waiting[: self._load.max_batch_size]
            del self._waiting[: len(batch)]
            if not batch:
                continue
            spread = self._tables.batch_spread[self._rng.integers(len(self._tables.batch_spread))]
            took_ms = float(np.interp(len(batch), self._sizes, self._times)) * spread
            yield from self._on_a_core(took_ms)
            self._env.process(self._answered(batch))

    def _answered(self, batch: Sequence[simpy.Event]) -> Events:
        yield self._env.timeout(self._tables.hop_ms)
        for event in batch:
            event.succeed()

    def _on_a_core(self, work_ms: float) -> Events:
        with self._cores.request() as core:
            yield core
            yield self._env.timeout(work_ms)


def simulate(tables: Tables, load: Load, seed: int = 1) -> Simulated:
    """One replica under a load."""
    env = simpy.Environment()
    replica = Replica(env, tables, load, seed)
    env.process(replica.arrivals())
    env.run(until=load.seconds * 1e3 + 2 * load.budget_ms)
    return Simulated(np.array(replica.latency_ms), np.array(replica.degraded, dtype=bool))
