"""An ideal expert behind the real queue, in virtual time, and what the best schedule could have answered."""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from serving.errors import StageError, StageRefusedError
from serving.expert.call import Escalated, Ran
from serving.expert.queue import Escalations

T = TypeVar("T")
ITEM = np.zeros(1)
LARGEST = 32


class _Instant(selectors.SelectSelector):
    """Waits for no I/O: the time jumps to the next timer."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits and there is no timer"
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only while nothing is ready. It does no I/O and knows no threads.

    The library looptime does more: it runs 42 empty turns before each step of time, and works on I/O and threads.
    """

    def __init__(self) -> None:
        self._instant = _Instant()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.now_s


def virtually(main: Callable[[], Awaitable[T]]) -> T:
    """What `main` returns, run in virtual time from 0 on."""

    async def awaited() -> T:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(awaited())


@dataclass
class Ideal:
    """An `ExpertCall` of one thread that takes `fixed_ms + item_ms * n` for n items, and `hop_ms` on the way.

    The times vary by a log-normal factor with deviation `noise`. Calls run one after the other. One that is too late
    when its turn comes is refused.
    """

    fixed_ms: float
    item_ms: float
    hop_ms: float = 0.0
    noise: float = 0.0
    sizes: list[int] = field(default_factory=list)
    _free_s: float = 0.0
    _rng: random.Random = field(default_factory=lambda: random.Random(7), repr=False)
    _thread: asyncio.Lock = field(default_factory=asyncio.Lock)

    def run_ms(self, size: int) -> float:
        return self.fixed_ms + self.item_ms * size

    def stop(self, seconds: float) -> None:
        """Run nothing for so long, as a process that was stopped."""
        self._free_s = asyncio.get_running_loop().time() + seconds

    def capacity_per_ms(self, budget_ms: float) -> float:
        """The most answers that it can give inside the budget, however many are asked."""
        sizes = [n for n in range(1, LARGEST + 1) if self.run_ms(n) <= budget_ms]
        return max((n / self.run_ms(n) for n in sizes), default=0.0)

    async def __call__(self, items: Sequence[Any], _traceparent: str | None = None, left_ms: float = math.inf) -> Ran:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.hop_ms / 2e3)
        arrived_s = loop.time()
        deadline_s = arrived_s + left_ms / 1e3
        async with self._thread:
            # A call that was given up while it ran runs on.
            await asyncio.sleep(max(0.0, self._free_s - loop.time()))
            if loop.time() > deadline_s:
                raise StageRefusedError("too late")
            self.sizes.append(len(items))
            waited_ms = (loop.time() - arrived_s) * 1e3
            took_ms = self.run_ms(len(items)) * self._rng.lognormvariate(-(self.noise**2) / 2, self.noise)
            self._free_s = loop.time() + took_ms / 1e3
            await asyncio.sleep(self._free_s - loop.time())
        await asyncio.sleep(self.hop_ms / 2e3)
        return Ran(np.zeros((len(items), 2), dtype=np.float32), took_ms, waited_ms)


@dataclass(frozen=True)
class Played:
    """How many escalations were answered in time, and how many after their deadline."""

    in_time: int
    late: int


def play(
    expert: Ideal, arrivals_ms: Sequence[float], budget_ms: float, *, taught: bool = True, **settings: Any
) -> Played:
    """Escalations of one item each, at these times, each with this budget; each caller leaves at its deadline.

    `taught`: the queue has seen a call of each size before, as after a warm-up.
    """

    async def main() -> Played:
        loop = asyncio.get_running_loop()
        escalations = Escalations(expert, clock=loop.time, **settings)
        if taught:
            for size in (1, 2, 4, 8, 16, 32):
                await escalations.ask([ITEM] * size, loop.time() + 1e6)
        begin_s, counts = loop.time(), [0, 0]

        def ended(answer: asyncio.Future[Escalated], deadline_s: float) -> None:
            if not answer.cancelled() and answer.exception() is None:
                counts[int(loop.time() > deadline_s + 1e-9)] += 1

        for at_ms in arrivals_ms:
            if begin_s + at_ms / 1e3 > loop.time():
                await asyncio.sleep(begin_s + at_ms / 1e3 - loop.time())
            deadline_s = loop.time() + budget_ms / 1e3
            try:
                answer = escalations.submit([ITEM], deadline_s)
            except StageError:
                continue
            leaves = loop.call_at(deadline_s + 1e-9, answer.cancel)
            answer.add_done_callback(lambda done, at=deadline_s, timer=leaves: (timer.cancel(), ended(done, at)))
        await asyncio.sleep(2 * budget_ms / 1e3 + 1)
        return Played(*counts)

    return virtually(main)


def arrivals_ms(rng: random.Random, per_ms: float, end_ms: float, *, burst: int = 1, most: int = 2500) -> list[float]:
    """Poisson arrivals; with `burst`, of groups of 1 to `2 * burst - 1` at one instant."""

    def times() -> Iterator[float]:
        now_ms = 0.0
        while (now_ms := now_ms + rng.expovariate(per_ms / burst)) < end_ms:
            yield from [now_ms] * rng.randint(1, 2 * burst - 1)

    return [at for at, _ in zip(times(), range(most), strict=False)]


def reference(expert: Ideal, arrivals: Sequence[float], budget_ms: float, most: int) -> int:
    """The most answers in time that any schedule gives that knows all arrivals beforehand. An exhaustive search.

    All budgets are equal, so some best schedule answers in order of arrival and each of its calls holds arrivals that
    follow one another. `free[j][k]`: when the expert is free at the earliest after k answers to the first j arrivals.
    `most`: an upper bound of the result.
    """
    runs = [expert.run_ms(size) for size in range(LARGEST + 1)]
    largest = max((size for size in range(1, LARGEST + 1) if runs[size] <= budget_ms), default=0)
    free = np.full((len(arrivals) + 1, most + 1), np.inf)
    free[:, 0] = -np.inf
    for last, arrived in enumerate(arrivals):
        best = free[last].copy()
        for size in range(1, min(largest, last + 1, most) + 1):
            deadline = arrivals[last - size + 1] + budget_ms + 1e-9
            if arrived + runs[size] > deadline:
                break
            end = np.maximum(free[last - size + 1][: most + 1 - size], arrived) + runs[size]
            np.minimum(best[size:], np.where(end <= deadline, end, np.inf), out=best[size:])
        free[last + 1] = best
    return int(np.flatnonzero(free[-1] < np.inf)[-1])


@dataclass
class Breakable(Ideal):
    """One that, between two moments, answers nothing (`slower` is infinite) or takes so many times as long."""

    slower: float = 1.0
    from_s: float = 0.0
    until_s: float = 0.0

    def run_ms(self, size: int) -> float:
        broken = self.from_s <= asyncio.get_running_loop().time() < self.until_s
        return super().run_ms(size) * (self.slower if broken else 1.0)

    async def __call__(self, items: Sequence[Any], _traceparent: str | None = None, left_ms: float = math.inf) -> Ran:
        if self.run_ms(1) == math.inf:
            await asyncio.Event().wait()
        return await super().__call__(items, None, left_ms)


def full_shares(expert: Breakable, moments_s: Sequence[float], *, rate: float, budget_ms: float) -> list[float]:
    """The shares of escalations that are answered in time, in the two seconds from each moment on.

    They come at random times and have 10 or 30 tokens; the expert was warmed up.
    """

    async def main() -> list[float]:
        loop, rng = asyncio.get_running_loop(), random.Random(1)
        queue, answered = Escalations(expert, clock=loop.time), list[tuple[float, bool]]()
        for tokens in (10, 30):
            for power in range(6):
                await queue.measure([np.zeros(tokens)] * 2**power)

        async def one(now_s: float) -> None:
            try:
                async with asyncio.timeout(budget_ms / 1e3):
                    await queue.ask([np.zeros(rng.choice((10, 30)))], now_s + budget_ms / 1e3)
            except (StageError, TimeoutError):
                return answered.append((now_s, False))
            answered.append((now_s, True))

        async with asyncio.TaskGroup() as group:
            while (now_s := loop.time()) < max(moments_s) + 2:
                group.create_task(one(now_s))
                await asyncio.sleep(rng.expovariate(rate))
        groups = [[full for at_s, full in answered if begin_s <= at_s < begin_s + 2] for begin_s in moments_s]
        return [sum(group) / len(group) for group in groups]

    return virtually(main)
