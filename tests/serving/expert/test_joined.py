"""Equal escalations in flight, behind the real queue, in virtual time: who joins whom, and what nobody inherits."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

from serving.errors import StageDownError, StageError, StageLateError
from serving.expert.call import Asked, Escalated, Ran
from serving.expert.joined import LINGER_S, JoinedEscalations
from serving.expert.queue import Escalations
from tests.serving.expert.virtual import virtually

T = TypeVar("T")
RUN_S = 0.01
FAILS, NONE = "fails", "gives nothing"


class Numbers:
    """An expert of one thread whose logits are the item's number. Its calls take RUN_S and end as `plan` says."""

    def __init__(self, *plan: str) -> None:
        self.calls: list[list[int]] = []
        self._plan = list(plan)
        self._thread = asyncio.Lock()

    async def __call__(self, items: Sequence[Any], _traceparent: str | None = None, left_ms: float = math.inf) -> Ran:
        async with self._thread:
            self.calls.append([int(item[0]) for item in items])
            outcome = self._plan.pop(0) if self._plan else ""
            await asyncio.sleep(RUN_S)
        if outcome == FAILS:
            raise StageDownError("this call fails")
        logits = np.array([[item[0], 0.0] for item in items], dtype=np.float32)
        return Ran(np.full_like(logits, np.nan) if outcome == NONE else logits, RUN_S * 1e3, 0.0)


class Desk:
    """Asks for numbers, as requests do: each with a time of its own, after which it leaves."""

    def __init__(self, expert: Numbers) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue = Escalations(expert, clock=self.loop.time)
        self.joined = JoinedEscalations(self.queue.submit, clock=self.loop.time)

    async def ask(self, *numbers: int, within_s: float = 1.0, stays_s: float | None = None) -> tuple[Escalated, Asked]:
        items, keys = [np.array([number]) for number in numbers], [b"%d" % number for number in numbers]
        asked = Asked()
        async with asyncio.timeout(stays_s or within_s):
            deadline_s = self.loop.time() + within_s
            return await self.joined.ask(items, keys, deadline_s, None, asked), asked

    def later(self, seconds: float, *numbers: int, **more: float) -> asyncio.Task[tuple[Escalated, Asked]]:
        async def ask() -> tuple[Escalated, Asked]:
            await asyncio.sleep(seconds)
            return await self.ask(*numbers, **more)

        return asyncio.create_task(ask())


def played(expert: Numbers, scene: Callable[[Desk], Awaitable[T]]) -> T:
    """What the scene gives. Afterwards nothing is in flight, and nobody waits."""

    async def main() -> T:
        desk = Desk(expert)
        given = await scene(desk)
        await asyncio.sleep(2 * RUN_S + LINGER_S)
        assert (desk.joined.in_flight, desk.queue.waiting) == (0, 0)
        return given

    return virtually(main)


async def all_of(*tasks: asyncio.Task[Any]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def said(answer: tuple[Escalated, Asked]) -> tuple[list[float], list[int], bool]:
    """The numbers that a request got, the places that joined, and whether a call was made for it."""
    escalated, asked = answer
    return escalated.logits[:, 0].tolist(), sorted(escalated.joined), asked.sent


def test_equal_items_in_flight_are_one_item_of_one_call() -> None:
    expert = Numbers()
    answers = played(expert, lambda desk: all_of(*(desk.later(at / 1e3, 7) for at in range(8))))
    assert expert.calls == [[7]]
    assert [said(answer) for answer in answers] == [([7.0], [], True), *[([7.0], [0], False)] * 7]


def test_a_joined_request_waits_no_longer_than_the_rest_of_the_call() -> None:
    async def scene(desk: Desk) -> tuple[float, Escalated]:
        first, second = desk.later(0, 7), desk.later(RUN_S * 0.75, 7)
        await first
        escalated, _ = await second
        return desk.loop.time(), escalated

    ended_s, escalated = played(Numbers(), scene)
    assert ended_s == pytest.approx(RUN_S)
    assert escalated.queue_ms == pytest.approx(RUN_S * 250), "its own wait, not that of the first one"
    assert (escalated.hop_ms, escalated.expert_ms) == (0, 0)


def test_an_answer_can_be_joined_until_whoever_asked_has_kept_it_and_no_longer() -> None:
    expert = Numbers()
    played(expert, lambda desk: all_of(desk.later(0, 7), desk.later(RUN_S + LINGER_S / 2, 7)))
    assert len(expert.calls) == 1
    played(expert, lambda desk: all_of(desk.later(0, 7), desk.later(RUN_S + 2 * LINGER_S, 7)))
    assert len(expert.calls) == 3


def test_each_of_several_items_joins_or_asks_and_equal_ones_of_a_request_are_one() -> None:
    expert = Numbers()
    first, second = played(expert, lambda desk: all_of(desk.later(0, 1, 2), desk.later(0.001, 3, 2, 4, 3)))
    assert expert.calls == [[1, 2], [3, 4]]
    assert said(first) == ([1.0, 2.0], [], True)
    assert said(second) == ([3.0, 2.0, 4.0, 3.0], [1, 3], True)


def test_whoever_has_less_time_than_the_one_that_waits_asks_by_itself() -> None:
    """Its own item goes first; behind the other one it might be late."""
    expert = Numbers()
    # Two calls are under way, so what comes now waits.
    busy = [(0.0, 1), (0.001, 2)]

    async def scene(desk: Desk) -> list[Any]:
        others = [desk.later(at, number) for at, number in busy]
        patient = desk.later(0.002, 7, within_s=0.9)
        hurried, third = desk.later(0.003, 7, within_s=0.2), desk.later(0.004, 7, within_s=0.3)
        return await all_of(patient, hurried, third, *others)

    patient, hurried, third, *_ = played(expert, scene)
    assert [said(each) for each in (patient, hurried)] == [([7.0], [], True)] * 2
    assert said(third) == ([7.0], [0], False), "the hurried one's deadline is before its own"


def test_a_call_that_was_sent_is_joined_whatever_the_deadlines() -> None:
    expert = Numbers()
    first, second = played(expert, lambda desk: all_of(desk.later(0, 7, within_s=0.9), desk.later(0.005, 7)))
    assert (said(first)[2], said(second)[2], expert.calls) == (True, False, [[7]])


@pytest.mark.parametrize("who", ["leader", "joined"])
def test_one_that_leaves_takes_nothing_from_the_others(who: str) -> None:
    expert = Numbers()
    stays = {"leader": (0.004, None), "joined": (None, 0.002)}[who]

    async def scene(desk: Desk) -> list[Any]:
        return await all_of(*(desk.later(place / 1e3, 7, stays_s=stay or 1.0) for place, stay in enumerate(stays)))

    answers = played(expert, scene)
    assert expert.calls == [[7]]
    left, stayed = answers if who == "leader" else reversed(answers)
    assert isinstance(left, TimeoutError)
    assert said(stayed)[0] == [7.0]


def test_an_item_that_nobody_waits_for_any_more_leaves_the_queue() -> None:
    expert = Numbers()

    async def scene(desk: Desk) -> list[Any]:
        others = [desk.later(0, 1), desk.later(0.001, 2)]
        return await all_of(*others, *(desk.later(0.002, 7, stays_s=0.001) for _ in range(3)))

    answers = played(expert, scene)
    assert [type(answer) for answer in answers[2:]] == [TimeoutError] * 3
    assert expert.calls == [[1], [2]]


def test_a_deadline_that_another_one_missed_is_not_the_joined_ones() -> None:
    """The queue gives up the first one, too late by its own deadline; the second one asks again with its own."""
    asked: list[tuple[float, asyncio.Future[Escalated]]] = []

    def submit(_items: Sequence[Any], deadline_s: float, *_: Any) -> asyncio.Future[Escalated]:
        asked.append((deadline_s, asyncio.get_running_loop().create_future()))
        return asked[-1][1]

    async def main() -> list[Any]:
        joined = JoinedEscalations(submit, clock=asyncio.get_running_loop().time)
        asks = [joined.ask([np.array([7])], [b"7"], deadline_s, None, Asked()) for deadline_s in (0.1, 0.2, 0.3)]
        tasks = [asyncio.ensure_future(ask) for ask in asks]
        await asyncio.sleep(0.01)
        asked[0][1].set_exception(StageLateError("late"))
        await asyncio.sleep(0.01)
        asked[1][1].set_result(Escalated(np.array([[7.0, 0.0]], dtype=np.float32), 1.0, 1.0, 1.0))
        return await asyncio.gather(*tasks, return_exceptions=True)

    late, second, third = virtually(main)
    assert isinstance(late, StageLateError)
    assert [deadline_s for deadline_s, _ in asked] == [0.1, 0.2]
    assert (second.joined, third.joined) == (frozenset(), {0})


def test_a_failure_is_that_of_whoever_asked_and_one_of_the_others_asks_for_all() -> None:
    expert = Numbers(FAILS)
    first, *others = played(expert, lambda desk: all_of(*(desk.later(place / 1e3, 7) for place in range(5))))
    assert isinstance(first, StageDownError)
    assert expert.calls == [[7], [7]]
    assert [said(other)[0] for other in others] == [[7.0]] * 4
    assert sum(said(other)[2] for other in others) == 1


def test_an_item_on_which_the_expert_failed_is_asked_for_again() -> None:
    expert = Numbers(NONE)
    first, second = played(expert, lambda desk: all_of(desk.later(0, 7), desk.later(0.001, 7)))
    assert np.isnan(first[0].logits).all()
    assert said(second) == ([7.0], [], True)


def test_a_refusal_at_once_leaves_nothing_in_flight() -> None:
    async def scene(desk: Desk) -> list[Any]:
        await desk.ask(0)
        return await all_of(desk.later(0, 7, within_s=RUN_S / 2), desk.later(0, 8, 7, within_s=RUN_S / 2))

    assert {type(answer) for answer in played(Numbers(), scene)} <= {StageLateError, TimeoutError}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_to_others_everybody_gets_their_own_numbers_or_leaves_in_time(seed: int) -> None:
    rng = random.Random(seed)
    expert = Numbers(*rng.choices(["", FAILS, NONE], (28, 1, 1), k=200))

    async def one(desk: Desk) -> bool:
        await asyncio.sleep(rng.uniform(0, 0.3))
        numbers = [rng.randrange(5) for _ in range(rng.choice((1, 1, 1, 4)))]
        within_s = rng.choice((0.005, 0.02, 0.05, 0.2))
        began_s, stays_s = desk.loop.time(), rng.choice((within_s, 0.003))
        try:
            answer = await desk.ask(*numbers, within_s=within_s, stays_s=stays_s)
        except (StageError, TimeoutError):
            return False
        finally:
            assert desk.loop.time() <= began_s + stays_s + 1e-9
        got, joined, asked = said(answer)
        assert all(number == want or math.isnan(number) for number, want in zip(got, numbers, strict=True))
        assert not any(math.isnan(got[place]) for place in joined if numbers.index(numbers[place]) == place)
        assert asked or joined
        return True

    async def scene(desk: Desk) -> list[Any]:
        return await asyncio.gather(*(one(desk) for _ in range(150)))

    answered = played(expert, scene)
    assert sum(answered) > 30
    assert sum(map(len, expert.calls)) < len(answered), "most of them joined"
