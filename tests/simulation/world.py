"""The API's own handlers, admission, queue, breaker, forecast and audit in virtual time, with faults drawn from a seed.

Between any two callbacks of the event loop the process may be stopped, a client may hang up or be cancelled, or the
expert may break in another way: the method of deterministic simulation (FoundationDB, Zhou and others, SIGMOD 2021).
Each run has few kinds of faults, which find more than all at once (swarm testing, Groce and others, ISSTA 2012). Only
the models, the sockets and the clock are made. The same seed gives the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal
from unittest import mock

import numpy as np
import orjson
from starlette.responses import Response
from starlette.types import Message

from serving.arrays import Array, Logits
from serving.cascade.cascade import ModelCascade
from serving.cascade.served import Served
from serving.errors import StageDownError, StageRefusedError
from serving.expert.call import Ran
from serving.expert.queue import Escalations
from serving.http.api import api_endpoints
from serving.http.classifying import Classifying
from serving.http.fast_path import FastPath
from serving.http.guard import ARRIVED, Guard
from serving.load.admission import Admission
from serving.load.direct import DirectWork
from serving.load.memory import MemoryLimit
from serving.model.preprocess import StageItems
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.points import make_point
from tests.simulation.audits import Audits
from tests.simulation.stepped import Stepped

LABELS = tuple("abcdefg")
Mode = Literal["well", "slow", "stalled", "dead", "busy"]
MODES: tuple[Mode, ...] = ("well", "slow", "stalled", "dead", "busy")
FAULTS = (*MODES, "stop", "hang up", "cancel")
HEAVY_TEXTS = 12
"""More texts than work on the event loop."""


class Expert:
    """An `ExpertCall` of one thread that gives item n the label n modulo their number, unless it is broken."""

    def __init__(self, rng: random.Random, loop: Stepped) -> None:
        self._rng, self._loop = rng, loop
        self.mode: Mode = "well"
        self.answered: Counter[int] = Counter()
        self.audited: set[int] = set()
        self.in_the_way: list[int] = []
        """Audited items that came while a call ran, or together with others."""
        self._item_ms, self._call_ms = rng.choice([(0.5, 0.5), (8.0, 1.0), (0.1, 12.0)])
        self._running: set[asyncio.Future[float]] = set()
        self._free_s = 0.0

    def breaks(self, mode: Mode) -> None:
        """Calls under way fail when it dies, and go on when it is well again."""
        self.mode = mode
        for running in self._running:
            if mode == "dead" and not running.done():
                running.set_exception(StageDownError("the connection was closed"))
            if mode == "well":
                self._later(running, 0.001)

    async def __call__(self, items: Sequence[Array], _traceparent: str | None, _left_ms: float) -> Ran:
        numbers = [int(item.flat[0]) for item in items]
        if self.audited & {*numbers} and (self._running or len(numbers) > 1):
            self.in_the_way += numbers
        if self.mode == "dead":
            raise StageDownError("the connection was refused")
        if self.mode == "busy":
            raise StageRefusedError("too late")
        took_ms = (self._call_ms + self._item_ms * len(items)) * self._rng.uniform(0.8, 1.5)
        took_ms *= 10 if self.mode == "slow" else 1
        begins_s = max(self._loop.time(), self._free_s)
        self._free_s = begins_s + took_ms / 1e3
        running = self._loop.create_future()
        self._running.add(running)
        if self.mode != "stalled":
            self._later(running, self._free_s - self._loop.time() + 2e-4)
        sent_s = self._loop.time()
        try:
            await running
        finally:
            self._running.discard(running)
        self.answered.update(numbers)
        logits = np.zeros((len(items), len(LABELS)), dtype=np.float32)
        logits[range(len(items)), [number % len(LABELS) for number in numbers]] = 9.0
        return Ran(logits, took_ms, (begins_s - sent_s) * 1e3)

    def _later(self, running: asyncio.Future[float], seconds: float) -> None:
        self._loop.call_later(seconds, lambda: running.done() or running.set_result(0.0))


class Unclocked(DirectWork):
    """Has the screen run on the event loop, and asks no clock."""

    def times(self, _units: int) -> bool:
        return False


@dataclass(slots=True)
class Client:
    """One request: what was sent back, and what became of it."""

    numbers: list[int]
    budget_ms: float
    began_s: float
    hangs_up: asyncio.Future[None]
    sent: list[Message] = field(default_factory=list)
    ended_s: float = 0.0
    late_ms: float = 0.0
    """After the deadline, without the time in which the process was stopped."""
    task: asyncio.Task[None] | None = None
    left: bool = False
    """It hung up, or its task was cancelled."""

    def leave(self, cancelled: bool) -> None:
        """Hang up, or have the server give the request up."""
        self.left = True
        assert self.task is not None
        if cancelled:
            self.task.cancel()
        elif not self.hangs_up.done():
            self.hangs_up.set_result(None)

    @property
    def status(self) -> int:
        """Of its response; 0 where it got none."""
        return next((message["status"] for message in self.sent if message["type"] == "http.response.start"), 0)

    def answers(self) -> list[dict[str, Any]]:
        """The answers in its response."""
        body = orjson.loads(b"".join(message.get("body", b"") for message in self.sent))
        return list(body.get("answers", [body]))


class World:
    """A service with one cascade, its clients, and what breaks. `calm` breaks nothing."""

    def __init__(self, seed: int, loop: Stepped, metrics: Metrics) -> None:
        self.rng, self.loop = random.Random(seed), loop
        self.expert = Expert(self.rng, loop)
        self.admission = Admission(self.rng.choice([3, 16, 256]))
        self.guard = Guard(Observer(metrics), self.admission)
        self.escalations = Escalations(
            self.expert,
            max_batch_size=self.rng.choice([1, 4, 32]),
            batch_window_ms=self.rng.choice([0.0, 0.0, 2.0]),
            calls_in_flight=self.rng.choice([1, 1, 2]),
            clock=loop.time,
        )
        self.memory = MemoryLimit(100_000_000)
        self.classifying = Classifying(self.guard.turns, self.memory)
        self.screen_ms = self.rng.choice([0.1, 1.0, 4.0])
        self.clients: list[Client] = []
        self.calm = False
        self._faults = self.rng.sample(FAULTS, self.rng.randint(2, 4))
        self._fault_share = self.rng.choice([0.005, 0.02, 0.1])
        self._numbers = iter(range(1, 10**9))
        self.audits = Audits(self.rng, self.escalations, LABELS)
        self.expert.audited = self.audits.asked
        served = Served([self._modality()])
        self._app = FastPath(_nowhere, api_endpoints(served, self.guard, metrics, self.classifying))

    def between(self) -> None:
        """What may happen between two steps."""
        if self.calm or self.rng.random() >= self._fault_share:
            return
        happens = self.rng.choice(self._faults)
        if happens == "stop":
            return self.loop.stop_process(self.rng.choice([0.001, 0.02, 0.3]))
        if happens in MODES:
            return self.expert.breaks(happens)
        waiting = [client for client in self.clients if client.task is not None and not client.task.done()]
        if waiting:
            self.rng.choice(waiting).leave(happens == "cancel")
        return None

    def ask(self, *, items: int = 1, unsure: bool | None = None, budget_ms: float, at_s: float | None = None) -> Client:
        """Send a request, whose bytes came at `at_s` (None: now), while the event loop may have worked.

        `unsure`: whether the screen defers all of its items, or none (None: some).
        """
        numbers = [next(self._numbers) for _ in range(items)]
        began_s = self.loop.time() if at_s is None else at_s
        client = Client(numbers, budget_ms, began_s, self.loop.create_future())
        self.clients.append(client)
        defers = [self.rng.random() < 0.6 if unsure is None else unsure for _ in numbers]
        texts = [f"{number} {'?' if deferred else '.'}" for number, deferred in zip(numbers, defers, strict=True)]
        client.task = self.loop.create_task(self._asked(client, texts))
        return client

    async def _asked(self, client: Client, texts: list[str]) -> None:
        path, content = ("/classify_text", texts[0]) if len(texts) == 1 else ("/classify_texts", texts)
        key = "text" if len(texts) == 1 else "texts"
        body = orjson.dumps({key: content, "budget_ms": client.budget_ms})
        left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}

        async def receive() -> Message:
            if left:
                return left.pop()
            await asyncio.shield(client.hangs_up)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            client.sent.append(message)

        await self._app({**scope, ARRIVED: client.began_s}, receive, send)
        client.ended_s = self.loop.time()
        ran_s = client.ended_s - client.began_s - self.loop.stopped_s(client.began_s, client.ended_s)
        client.late_ms = ran_s * 1e3 - client.budget_ms

    def _modality(self) -> Any:
        def prepare(text: str) -> StageItems:
            number, mark = text.split()
            return StageItems(np.array([float(number), mark == "?"]), np.array([float(number)]), False)

        def screen(items: Sequence[Array]) -> Logits:
            self.loop.work(self.screen_ms * len(items) * self.rng.uniform(0.8, 1.5) / 1e3)
            return np.array([[0.0 if item[1] else 99.0, *[0.0] * (len(LABELS) - 1)] for item in items], np.float32)

        def expert(*asked: Any) -> Any:
            return self.escalations.submit(*asked)

        cascade = ModelCascade(
            labels=LABELS, screen=screen, expert=expert, point=make_point(threshold=0.9), direct=Unclocked()
        )
        return SimpleNamespace(
            cascade=cascade,
            prepare=prepare,
            preparing_bytes=lambda _content: 0,
            screen_tag="screen:1",
            expert_tag="expert:1",
            name="made",
            version="v1",
            kind="text",
            pairs=False,
            auditor=self.audits.auditor,
        )


async def _nowhere(scope: Any, receive: Any, send: Any) -> None:
    await Response(status_code=404)(scope, receive, send)


@contextlib.contextmanager
def world(seed: int, metrics: Metrics) -> Iterator[tuple[World, asyncio.Runner]]:
    """A world whose clock is that of its event loop, which `runner` runs."""
    made: list[Stepped] = []

    def factory() -> Stepped:
        made.append(Stepped(random.Random(seed)))
        return made[0]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop()
        clock = partial(Stepped.time, made[0])
        with mock.patch.object(time, "monotonic", clock), mock.patch("serving.http.intake.monotonic", clock):
            yield World(seed, made[0], metrics), runner
