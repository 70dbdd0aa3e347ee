"""A queueing simulation of one replica: processes that work in turns, an expert that batches, cores that all share.

What it knows comes from measured tables alone. The processes are event loops: what is ready runs in one turn, and what
that makes ready in the next, behind all that came in the meantime. An answer of the screen takes one turn of the API's
process; an escalation takes several on its way out and back, each of which waits for others' work.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

Events = Generator[simpy.Event, Any, None]
Then = Callable[[], object]

TURNS_OUT, TURNS_BACK = 2, 2
"""Turns of the API's process that an escalation takes besides its request's own, and in which it does next to nothing:
out when the batch is made and when the call begins, back when the call ends and when the request goes on.
"""
SLICE_MS = 1.5
"""How long a process keeps a core that others wait for, at most; about what Linux gives on few cores."""


@dataclass(frozen=True, slots=True)
class Item:
    """Milliseconds that a request costs an API process, and the expert alone; None where the screen answers."""

    api_ms: float
    expert_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Milliseconds as measured where nothing queues. `items`: what comes, a sample of many. `network_ms`: outside the
    service. `batch_ms`: of the expert by batch size, for one and the same item. `hop_ms`: what a call takes beyond it,
    after a rest; simulated as the expert's process's. `wake_ms`: what the first request after a rest costs more.
    `cores`: that all processes share; `generator_ms`: the load generator's own work on a request where it shares them
    too, else 0.
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
    """What comes, and what answers: `rate_per_s` at one replica with so many API `workers`."""

    rate_per_s: float
    budget_ms: float = 50.0
    workers: int = 1
    max_batch_size: int = 32
    calls_in_flight: int = 2
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """Latencies in ms, infinite where the time was over before the answer; which of them the expert was asked for, and
    which were degraded. In the order of the answers.
    """

    latency_ms: NDArray[np.float64]
    escalated: NDArray[np.bool_]
    degraded: NDArray[np.bool_]


class EventLoop:
    """A process that runs what is ready in turns. `wake_ms`: as in Tables.

    It gives its core back after each piece of work, and after a slice of a long one, so processes that all run share
    the cores by turns too (round robin), as a kernel has them do.
    """

    def __init__(self, env: simpy.Environment, cores: simpy.Resource, wake_ms: float = 0.0) -> None:
        self.env, self._cores, self._wake_ms = env, cores, wake_ms
        self._ready: list[tuple[float, Then, bool]] = []
        self._woken = env.event()
        env.process(self._run())

    def soon(self, work_ms: float, then: Then, *, turns: int = 1, wakes: bool = True) -> None:
        """Work for so long in the next turn, or the one that `turns` says, and `then` go on. `wakes`: whether waking up
        for it costs anything that was not measured with it.
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
    """One API process and its queue in front of the expert, which it calls with all that waits. `answer`: called with
    each request when its answer leaves, and whether that is degraded.
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
        """A request has come."""

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
        """Call the expert with what waits and can still be answered in time; the rest is degraded at once."""
        now = self._loop.env.now
        for request in self._waiting:
            if now + self._call_ms([request]) > request.arrived_ms + self._load.budget_ms:
                self._finish(request, True)
        self._waiting = [request for request in self._waiting if not request.answered]
        if not self._waiting or self._calls >= self._load.calls_in_flight:
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
        """The expert and the hop; all items are padded to the longest."""
        longest_ms = max(request.item.expert_ms or 0.0 for request in batch)
        return longest_ms * float(np.interp(len(batch), self._sizes, self._times)) + self._tables.hop_ms


def simulate(tables: Tables, load: Load, seed: int = 1) -> Simulated:
    """One replica under Poisson arrivals."""
    rng = np.random.default_rng(seed)
    env = simpy.Environment()
    cores = simpy.Resource(env, tables.cores)
    expert = EventLoop(env, cores)
    generator = EventLoop(env, cores)
    half_ms = tables.generator_ms / 2
    latency_ms, escalated, degraded = [], [], []
    unanswered: dict[int, _Request] = {}

    def answer(request: _Request, was_degraded: bool) -> None:
        def read() -> None:
            del unanswered[id(request)]
            latency_ms.append(env.now - request.arrived_ms + tables.network_ms)
            escalated.append(request.item.expert_ms is not None)
            degraded.append(was_degraded)

        generator.soon(half_ms, read)

    loops = [EventLoop(env, cores, tables.wake_ms) for _ in range(load.workers)]
    apis = [ApiProcess(loop, expert, tables, load, answer) for loop in loops]

    def arrivals() -> Events:
        while env.now < load.seconds * 1e3:
            yield env.timeout(rng.exponential(1e3 / load.rate_per_s))
            request = _Request(tables.items[rng.integers(len(tables.items))], env.now)
            unanswered[id(request)] = request
            api = apis[rng.integers(len(apis))]
            generator.soon(half_ms, functools.partial(api.take, request))

    env.process(arrivals())
    env.run(until=load.seconds * 1e3 + 2 * load.budget_ms)
    for request in unanswered.values():
        latency_ms.append(math.inf)
        escalated.append(request.item.expert_ms is not None)
        degraded.append(False)
    return Simulated(np.array(latency_ms), np.array(escalated, dtype=bool), np.array(degraded, dtype=bool))
