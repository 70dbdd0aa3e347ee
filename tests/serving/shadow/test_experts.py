"""A shadow whose experts are elsewhere: who is asked, what waits, and what is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from functools import partial

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.cascade.modality import Modality, StoredCascade
from serving.errors import StageDownError
from serving.shadow import shadow as shadow_module
from serving.shadow.experts import ByWorkers, NotHere
from serving.shadow.shadow import LINE
from tests.conftest import TinyCascades
from tests.serving.shadow.two import Two, stored_cascade


class Workers:
    """Answers as `says`, by digests; waits for `gate`, and raises `error` if there is one."""

    def __init__(self) -> None:
        self.connected, self.running = True, 0
        self.says: dict[str, int] = {}
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.labels = 0

    async def ask(self, digest: str, item: Array) -> Logits:
        self.asked.append(digest)
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        return np.eye(self.labels, dtype=np.float32)[[self.says[digest]]] * 20

    async def run(self) -> None:
        self.running += 1


@pytest.fixture(scope="module")
def stored(tiny_cascades: TinyCascades) -> StoredCascade:
    return stored_cascade(tiny_cascades)


def run(stored: StoredCascade, work: Callable[[Two, Workers], Awaitable[None]], *, shadow_asks: bool = True) -> None:
    """With a served cascade that trusts its screen, and experts elsewhere under two digests."""
    workers = Workers()

    def elsewhere(shadow: Modality) -> ByWorkers:
        shadow.digests = {**shadow.digests, "expert": "shadow's"}
        return ByWorkers(shadow, workers)

    async def main() -> None:
        async with asyncio.timeout(120):
            two = Two(stored, experts=elsewhere, shadow_asks=shadow_asks)
            two.served.digests = {**two.served.digests, "expert": "served"}
            workers.labels = two.labels
            await two.warm()
            await work(two, workers)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("shadow_says", "expert_says", "outcome"), [(0, 0, "same"), (1, 1, "better"), (1, 0, "worse"), (1, 2, "neither")]
)
def test_workers_answer_for_both_experts(
    stored: StoredCascade, shadow_says: int, expert_says: int, outcome: str
) -> None:
    async def work(two: Two, workers: Workers) -> None:
        if two.labels < 3 and expert_says == 2:
            pytest.skip("two labels, and one of the two cascades is right")
        workers.says = {"shadow's": two.other(shadow_says), "served": two.other(expert_says)}
        before = [expert.asked for expert in two.experts]
        await two.ask()
        assert await two.outcomes(1) == {outcome: 1}
        assert workers.asked == ["shadow's", "served"][: 1 if outcome == "same" else 2]
        assert [expert.asked for expert in two.experts] == before, "no expert beside the service is asked"
        said = await two.shadow.describe()
        assert (said.broker, said.escalation_shadow) == ("connected", 1)
        assert (said.took_ms.n, said.model_ms.n, two.told.times) == (0, 0, 0), "the way to workers is no part of it"
        assert workers.running == 1

    run(stored, work)


def test_what_waits_for_a_worker_is_not_given_up_and_what_comes_meanwhile_is_dropped(stored: StoredCascade) -> None:
    async def work(two: Two, workers: Workers) -> None:
        workers.connected, workers.gate = False, asyncio.Event()
        workers.says = {"shadow's": two.screen_says}
        for _ in range(LINE + 4):
            await two.ask()
        while not workers.asked:
            await asyncio.sleep(0.01)
        for _ in range(3):
            await two.ask()
        found = await two.outcomes(1)
        assert set(found) == {"dropped"}
        said = await two.shadow.describe()
        assert (said.broker, said.outcomes["waiting"], said.items) == ("away", 1, 0)
        assert said.agreement.mean is None, "what waits is no agreement yet"
        while not two.told.waited_s:
            await asyncio.sleep(0.01)
        workers.gate.set()
        kept = LINE + 7 - found["dropped"]
        assert await two.outcomes(LINE + 7) == {"dropped": found["dropped"], "same": kept}
        assert (await two.shadow.describe()).outcomes["waiting"] == 0

    run(stored, work)


def test_an_expert_that_fails_elsewhere_is_told_from_one_that_settles_nothing(stored: StoredCascade) -> None:
    async def failing(two: Two, workers: Workers) -> None:
        workers.error = StageDownError("it fails")
        await two.ask()
        assert await two.outcomes(1) == {"failed": 1}

    async def unsettled(two: Two, workers: Workers) -> None:
        workers.says = {"shadow's": two.other(1)}  # nobody has the other one

        async def ask(digest: str, item: Array) -> Logits:
            if digest == "served":
                raise StageDownError("it fails")
            return await Workers.ask(workers, digest, item)

        workers.ask = ask  # type: ignore[method-assign]
        await two.ask()
        assert await two.outcomes(1) == {"unsettled": 1}

    run(stored, failing)
    run(stored, unsettled)


def test_what_waits_for_an_expert_of_a_version_that_is_served_no_more_is_forgotten(stored: StoredCascade) -> None:
    async def work(two: Two, workers: Workers) -> None:
        workers.gate = asyncio.Event()
        for _ in range(3):
            await two.ask()
        while not workers.asked:
            await asyncio.sleep(0.01)
        two.served = copy(two.served)
        two.served.version, workers.gate = "2", None
        workers.says = {"shadow's": two.screen_says}
        await two.ask()
        assert await two.outcomes(1) == {"same": 1}
        await asyncio.sleep(0.1)
        assert await two.outcomes(1) == {"same": 1}

    run(stored, work)


def test_a_cancelled_wait_that_is_answered_all_the_same_counts_for_no_other_version(
    stored: StoredCascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "_bytes_of", lambda _: 10)

    async def work(two: Two, workers: Workers) -> None:
        gate, entered = asyncio.Event(), asyncio.Event()

        async def ask(digest: str, item: Array) -> Logits:
            with suppress(asyncio.CancelledError):  # as asyncio.wait_for does in Python 3.11 where its future is done
                entered.set()
                await gate.wait()
            return await Workers.ask(workers, digest, item)

        workers.says, workers.ask = {"shadow's": two.screen_says}, ask  # type: ignore[method-assign]
        shadow = two.shadow
        await two.ask()
        await entered.wait()
        two.served = copy(two.served)
        two.served.version = "2"
        workers.ask = partial(Workers.ask, workers)  # type: ignore[method-assign]
        await two.ask()
        assert await two.outcomes(1) == {"same": 1}
        await asyncio.sleep(0.1)
        assert await two.outcomes(1) == {"same": 1}
        assert shadow._held_bytes == 0

    run(stored, work)


def test_nobody_here_has_the_expert() -> None:
    async def work() -> None:
        expert = NotHere()
        with pytest.raises(StageDownError):
            await expert([], None, 1.0)
        assert "elsewhere" in (await expert.describe())["error"]
        await expert.close()

    asyncio.run(work())
