"""A queueing simulation of one replica: API processes, an expert that batches, and the cores that all of them share.

All times come from measured tables. Each process is an event loop: one turn runs all callbacks that are ready, and
callbacks that become ready meanwhile run in the next turn. An answer of the screen takes one turn of the API process.
An escalation takes several turns on its way out and back, and waits in each of them for other requests' work.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import simpy
from numpy.typing import NDArray

Events = Generator[simpy.Event, object, None]
Then = Callable[[], object]

TURNS_OUT, TURNS_BACK = 2, 2
"""Turns of the API process that an escalation takes beyond its request's own; each does almost no work.

Out: the batch is made, the call begins. Back: the call ends, the request goes on.
"""
CALLS = 2
"""Calls to the expert under way: one runs, and the next one is sent early by its way there."""
SLICE_MS = 1.5
"""Longest time that a process keeps a core while others wait for it; about what Linux gives on few cores."""


@dataclass(frozen=True, slots=True)
class Item:
    """Milliseconds of one request in an API process and in the expert; None where the screen answers."""

    api_ms: float
    expert_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Milliseconds as measured when nothing queues.

    `items`: a sample of the requests. `network_ms`: time outside the service. `batch_ms`: time of the expert by batch
    size, for copies of one item. `hop_ms`: time of a call beyond that, after a rest; simulated as work of the expert's
    process. `wake_ms`: extra time of the first request after a rest. `cores`: shared by all processes. `generator_ms`:
    the load generator's work on a request where it shares the cores, else 0.
    """

    items: Sequence[Item]
    network_ms: float
    batch_ms: dict[int, float]
    hop_ms: float
    wake_ms: float
    cores: int
    generator_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of one replica (`rate_per_s`, `budget_ms`, for `seconds`) and its settings."""

    rate_per_s: float
    budget_ms: float = 50.0
    workers: int = 1
    max_batch_size: int = 32
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """One entry for each request, in the order of the answers [requests].

    `latency_ms`: infinite where the simulation ended before the answer. `escalated`: whether the expert was asked.
    `degraded`: whether the screen's answer was given because the expert was too late.
    """

    latency_ms: NDArray[np.float64]
    escalated: NDArray[np.bool_]
    degraded: NDArray[np.bool_]


class EventLoop:
    """A process that runs its ready callbacks in turns. `wake_ms`: as in Tables.

    It releases its core after each callback, and after each slice of a long one. So busy processes share the cores
    round robin, as under a kernel's scheduler.
    """

    def __init__(self, env: simpy.Environment, cores: simpy.Resource, wake_ms: float = 0.0) -> None:
        self.env, self._cores, self._wake_ms = env, cores, wake_ms
        self._ready: list[tuple[float, Then, bool]] = []
        self._woken = env.event()
        env.process(self._run())

    def soon(self, work_ms: float, then: Then, *, turns: int = 1, wakes: bool = True) -> None:
        """Work for `work_ms` in the next turn, or `turns` turns from now, then call `then`.

        `wakes`: whether waking up for this work costs `wake_ms`; False where `work_ms` was measured with it.
        """
        if turns > 1:
            work_ms, then = 0.0, functools.partial(self.soon, work_ms, then, turns=turns - 1, wakes=wakes)
        self._ready.append((work_ms, then, wakes))
        if not self._woken.triggered:
            self._woken.succeed()

    def _run(self) -> Events:
        while True:
            extra_ms = 0.0
            if not self._ready:
                self._woken = self.env.event()
                yield self._woken
                extra_ms = self._wake_ms if self._ready[0][2] else 0.0
            turn, self._ready = self._ready, []
            for work_ms, then, _ in turn:
                yield from self._on_a_core(work_ms + extra_ms)
                extra_ms = 0.0
                then()

    def _on_a_core(self, work_ms: float) -> Events:
        while work_ms > 1e-9:
            with self._cores.request() as core:
                yield core
                yield self.env.timeout(min(work_ms, SLICE_MS))
            work_ms -= SLICE_MS


@dataclass(slots=True)
class _Request:
    item: Item
    arrived_ms: float
    answered: bool = False


class ApiProcess:
    """One API process and its queue of escalations; each call to the expert takes all that wait and fit.

    `answer`: called for each request when its answer leaves, with whether that is degraded.
    """

    def __init__(
        self,
        loop: EventLoop,
        expert: EventLoop,
        tables: Tables,
        load: Load,
        answer: Callable[[_Request, bool], object],
    ) -> None:
        self._loop, self._expert, self._tables, self._load, self._answer = loop, expert, tables, load, answer
        self._waiting: list[_Request] = []
        self._calls = 0
        self._sizes = np.array(sorted(tables.batch_ms))
        self._times = np.array([tables.batch_ms[size] / tables.batch_ms[self._sizes[0]] for size in self._sizes])

    def take(self, request: _Request) -> None:
        """Handle a request that has arrived."""

        def screened() -> None:
            if request.item.expert_ms is None:
                return self._finish(request, False)
            self._loop.env.process(self._deadline(request))
            return self._loop.soon(0.0, lambda: self._escalate(request), turns=TURNS_OUT)

        self._loop.soon(request.item.api_ms, screened)

    def _finish(self, request: _Request, degraded: bool) -> None:
        if not request.answered:
            request.answered = True
            self._answer(request, degraded)

    def _deadline(self, request: _Request) -> Events:
        yield self._loop.env.timeout(max(0.0, request.arrived_ms + self._load.budget_ms - self._loop.env.now))
        self._finish(request, True)

    def _escalate(self, request: _Request) -> None:
        self._waiting.append(request)
        self._call()

    def _call(self) -> None:
        """Call the expert with the waiting requests; those that cannot be in time get a degraded answer at once."""
        now = self._loop.env.now
        for request in self._waiting:
            if now + self._call_ms([request]) > request.arrived_ms + self._load.budget_ms:
                self._finish(request, True)
        self._waiting = [request for request in self._waiting if not request.answered]
        if not self._waiting or self._calls >= CALLS:
            return
        most = self._load.max_batch_size
        batch, self._waiting = self._waiting[:most], self._waiting[most:]
        self._calls += 1

        def ended() -> None:
            self._calls -= 1
            self._call()

        def came_back() -> None:
            self._loop.soon(0.0, ended, wakes=False)
            for request in batch:
                answer = functools.partial(self._finish, request, False)
                self._loop.soon(0.0, answer, turns=TURNS_BACK, wakes=False)

        self._expert.soon(self._call_ms(batch), came_back)

    def _call_ms(self, batch: Sequence[_Request]) -> float:
        """Milliseconds of a call with this batch, hop included; all items are padded to the longest."""
        longest_ms = max(request.item.expert_ms or 0.0 for request in batch)
        return longest_ms * float(np.interp(len(batch), self._sizes, self._times)) + self._tables.hop_ms


def simulate(tables: Tables, load: Load, seed: int = 1) -> Simulated:
    """Simulate one replica under Poisson arrivals."""
    replica = _Replica(tables, load, seed)
    replica.env.process(replica.arrivals())
    replica.env.run(until=load.seconds * 1e3 + 2 * load.budget_ms)
    return replica.simulated()


class _Replica:
    """API processes, an expert and a load generator on shared cores, and the answers so far."""

    def __init__(self, tables: Tables, load: Load, seed: int) -> None:
        self.env = simpy.Environment()
        self._tables, self._load, self._rng = tables, load, np.random.default_rng(seed)
        cores = simpy.Resource(self.env, tables.cores)
        expert, self._generator = EventLoop(self.env, cores), EventLoop(self.env, cores)
        loops = [EventLoop(self.env, cores, tables.wake_ms) for _ in range(load.workers)]
        self._apis = [ApiProcess(loop, expert, tables, load, self._answer) for loop in loops]
        self._unanswered: dict[int, _Request] = {}
        self._answers: list[tuple[float, bool, bool]] = []

    def arrivals(self) -> Events:
        """Requests at random times; sending one is work of the generator."""
        items = self._tables.items
        while self.env.now < self._load.seconds * 1e3:
            yield self.env.timeout(self._rng.exponential(1e3 / self._load.rate_per_s))
            request = _Request(items[int(self._rng.integers(len(items)))], self.env.now)
            self._unanswered[id(request)] = request
            api = self._apis[int(self._rng.integers(len(self._apis)))]
            self._generator.soon(self._tables.generator_ms / 2, functools.partial(api.take, request))

    def _answer(self, request: _Request, degraded: bool) -> None:
        """An answer has left; reading it is work of the generator."""
        self._generator.soon(self._tables.generator_ms / 2, functools.partial(self._read, request, degraded))

    def _read(self, request: _Request, degraded: bool) -> None:
        del self._unanswered[id(request)]
        latency_ms = self.env.now - request.arrived_ms + self._tables.network_ms
        self._answers.append((latency_ms, request.item.expert_ms is not None, degraded))

    def simulated(self) -> Simulated:
        """The answers, and infinite latencies for the requests without one."""
        missing = [(math.inf, request.item.expert_ms is not None, False) for request in self._unanswered.values()]
        rows = [*self._answers, *missing]
        return Simulated(
            np.array([latency_ms for latency_ms, _, _ in rows]),
            np.array([escalated for _, escalated, _ in rows], dtype=bool),
            np.array([degraded for _, _, degraded in rows], dtype=bool),
        )
