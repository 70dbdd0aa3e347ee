"""The cascade's decisions, with an expert that can be made late, refusing or dead."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.cascade.cascade import ModelCascade, StageAnswer, wait_s
from serving.errors import StageDownError, StageLateError, StageRefusedError
from serving.expert.call import Asked, Escalated
from serving.load.budget import Budget
from serving.load.direct import LONGEST_MS
from serving.timings import Timings
from tests.points import make_point


class Expert:
    """Answers "b" for everything, after `delay_s`, or raises `error`; keeps what it was asked.

    `sends`: whether a call was sent, and not only wanted.
    """

    def __init__(self, delay_s: float = 0.0, error: Exception | None = None, *, sends: bool = True) -> None:
        self.delay_s, self.error, self.sends = delay_s, error, sends
        self.calls: list[list[int]] = []
        self.seen: list[tuple[bool, bool]] = []

    async def __call__(self, items: Sequence[Any], deadline_s: float, trace: Any, asked: Asked) -> Escalated:
        self.calls.append([int(item[0]) for item in items])
        asked.sent = self.sends
        if self.error:
            raise self.error
        await asyncio.sleep(self.delay_s)
        logits = np.tile(np.array([0.0, 9.0], dtype=np.float32), (len(items), 1))
        return Escalated(logits, queue_ms=1.0, hop_ms=2.0, expert_ms=3.0)


def screen(items: Sequence[Any]) -> Any:
    """Says "a"; the item's number is the logit, so 0 is quite unsure and 9 quite sure."""
    return np.array([[float(item[0]), 0.0] for item in items], dtype=np.float32)


def classify(
    expert: Expert, numbers: list[int], *, budget_ms: float = 500, threshold: float = 0.9
) -> list[StageAnswer]:
    cascade = ModelCascade(
        labels=("a", "b"),
        screen=screen,
        expert=expert,
        point=make_point(threshold=threshold),
        observe=lambda confidence, deferred: expert.seen.append((confidence > threshold, deferred)),
    )
    items = [np.array([number]) for number in numbers]
    theirs = [np.array([100 + number]) for number in numbers]
    return asyncio.run(cascade.classify(items, theirs, Budget(time.monotonic(), budget_ms), Timings()))


def test_unsure_items_escalate_in_one_call_and_keep_their_order() -> None:
    expert = Expert()
    outcomes = classify(expert, [9, 0, 8, 1, 0])
    assert expert.calls == [[100, 101, 100]]
    assert [o.stage for o in outcomes] == ["screen", "expert", "screen", "expert", "expert"]
    assert [o.answer.label for o in outcomes] == ["a", "b", "a", "b", "b"]
    assert [o.escalated for o in outcomes] == [False, True, False, True, True]
    assert all(o.degraded is None for o in outcomes)
    assert expert.seen == [(True, False), (False, True), (True, False), (False, True), (False, True)]


def test_the_expert_is_not_asked_when_the_screen_is_sure() -> None:
    expert = Expert()
    classify(expert, [9, 9], threshold=0.0)
    assert expert.calls == []


@pytest.mark.parametrize(
    ("expert", "reason"),
    [
        (Expert(delay_s=5), "deadline"),
        (Expert(error=StageRefusedError("full")), "shed"),
        (Expert(error=StageDownError("gone")), "down"),
    ],
    ids=["late", "refuses", "down"],
)
def test_without_an_answer_from_the_expert_the_screens_stands_as_degraded(expert: Expert, reason: str) -> None:
    begin = time.monotonic()
    sure, unsure = classify(expert, [9, 0], budget_ms=60)
    assert time.monotonic() - begin < 2
    assert (sure.degraded, sure.escalated) == (None, False)
    assert (unsure.stage, unsure.escalated, unsure.degraded) == ("screen", True, reason)
    assert unsure.answer.label == "a"


def taken(items: Sequence[Any], *bad: int) -> Any:
    """Logits that say "b", and NaN for the items with these numbers."""
    return np.array([[np.nan] * 2 if int(item[0]) in bad else [0.0, 9.0] for item in items], dtype=np.float32)


@pytest.mark.parametrize("screen_fails", [False, True])
@pytest.mark.parametrize("expert_fails", [False, True])
def test_an_item_on_which_a_stage_fails_spoils_only_its_own_place(screen_fails: bool, expert_fails: bool) -> None:
    seen: list[float] = []

    class Failing(Expert):
        async def __call__(self, items: Sequence[Any], *more: Any) -> Escalated:
            answered = await super().__call__(items, *more)
            return replace(answered, logits=taken(items, *[101] * expert_fails))

    cascade = ModelCascade(
        labels=("a", "b"),
        screen=lambda items: np.where(taken(items, *[1] * screen_fails) == 9, 1.0, taken(items, *[1] * screen_fails)),
        expert=Failing(),
        point=make_point(threshold=0.9),
        observe=lambda confidence, _: seen.append(confidence),
    )
    items, theirs = ([np.array([number]) for number in (first, first + 1, first + 2)] for first in (0, 100))
    one, two, three = asyncio.run(cascade.classify(items, theirs, Budget(time.monotonic(), 500), Timings()))
    for sound in (one, three):
        assert (sound.stage, sound.degraded, sound.answer and sound.answer.label) == ("expert", None, "b")
    if not expert_fails:
        assert (two.stage, two.degraded) == ("expert", None)
    elif screen_fails:
        assert (two.answer, two.degraded, two.escalated) == (None, "failed", True)
    else:
        assert (two.stage, two.degraded, two.escalated) == ("screen", "down", True)
    assert len(seen) == 3 - screen_fails, "what the screen failed on says nothing of drift"


def test_an_item_on_which_the_screen_fails_has_no_answer_where_the_expert_has_none() -> None:
    cascade = ModelCascade(
        labels=("a", "b"),
        screen=lambda items: taken(items, 1),
        expert=Expert(error=StageDownError("gone")),
        point=make_point(threshold=0.9),
    )
    items = [np.array([0]), np.array([1])]
    one, two = asyncio.run(cascade.classify(items, items, Budget(time.monotonic(), 500), Timings()))
    assert (one.answer and one.answer.label, one.degraded) == ("b", None)
    assert (two.answer, two.degraded) == (None, "failed")


@pytest.mark.parametrize("error", [None, StageDownError("gone"), StageLateError("expected to be late")])
def test_an_item_that_was_never_sent_to_the_expert_did_not_escalate(error: Exception | None) -> None:
    sure, unsure = classify(Expert(5, error, sends=False), [9, 0], budget_ms=30)
    assert (sure.escalated, unsure.escalated) == (False, False)
    assert unsure.degraded == ("down" if isinstance(error, StageDownError) else "deadline")


def test_a_caller_that_hung_up_is_not_waited_for() -> None:
    expert = Expert(delay_s=5)
    cascade = ModelCascade(labels=("a", "b"), screen=screen, expert=expert, point=make_point(threshold=0.9))
    item = np.array([0])

    async def hung_up() -> None:
        await asyncio.sleep(0.02)

    begin = time.monotonic()
    (outcome,) = asyncio.run(cascade.classify([item], [item], Budget(begin, 1000), Timings(), hung_up))
    assert outcome.degraded == "gone"
    assert time.monotonic() - begin < 0.9


class Queue:
    """An expert that gives a plain future and never answers, as a queue does."""

    def __call__(self, items: Sequence[Any], *_: Any) -> asyncio.Future[Escalated]:
        self.answer = asyncio.get_running_loop().create_future()
        return self.answer

    def ask(self, budget_ms: float, gone: Any = None) -> Any:
        cascade = ModelCascade(labels=("a", "b"), screen=screen, expert=self, point=make_point(threshold=0.9))
        item = np.array([0])
        return cascade.classify([item], [item], Budget(time.monotonic(), budget_ms), Timings(), gone)


def test_a_late_escalation_leaves_the_queue() -> None:
    queue = Queue()
    (outcome,) = asyncio.run(queue.ask(20))
    assert outcome.degraded == "deadline"
    assert queue.answer.cancelled()


@pytest.mark.parametrize("gives_up_too", [False, True])
def test_a_cancelled_request_is_cancelled_and_leaves_the_queue(gives_up_too: bool) -> None:
    queue = Queue()

    async def cancelled() -> None:
        async def hung_up() -> None:
            await asyncio.sleep(0.01)
            if gives_up_too:  # in the same turn, after the cascade has given the answer up
                asyncio.current_task().add_done_callback(lambda _: request.cancel())
            else:
                request.cancel()

        request = asyncio.ensure_future(queue.ask(500, hung_up))
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(cancelled())
    assert queue.answer.cancelled()


def test_a_spent_budget_does_not_ask_the_expert() -> None:
    expert = Expert()
    (outcome,) = classify(expert, [0], budget_ms=1e-6)
    assert (outcome.degraded, outcome.escalated, expert.calls) == ("deadline", False, [])


def test_a_fault_in_our_own_code_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        classify(Expert(error=ZeroDivisionError()), [0])


def test_a_large_batch_goes_to_a_thread_with_the_same_answers() -> None:
    expert = Expert()
    numbers = [9 if i % 3 else 0 for i in range(64)]
    outcomes = classify(expert, numbers)
    assert [o.stage for o in outcomes] == ["screen" if n else "expert" for n in numbers]


def test_a_screen_that_takes_long_leaves_the_event_loop() -> None:
    on_the_loop = []

    def slow(items: Sequence[Any]) -> Any:
        on_the_loop.append(threading.current_thread() is threading.main_thread())
        until_s = time.thread_time() + 2 * LONGEST_MS / 1e3
        while time.thread_time() < until_s:
            pass
        return screen(items)

    cascade = ModelCascade(labels=("a", "b"), screen=slow, expert=Expert(), point=make_point(threshold=0.0))

    async def ask_twice() -> None:
        for _ in range(2):
            items = [np.array([9])]
            (answer,) = await cascade.classify(items, items, Budget(time.monotonic(), 500), Timings())
            assert answer.answer.label == "a"

    asyncio.run(ask_twice())
    assert on_the_loop == [True, False]


class Futures:
    """An expert whose answers are futures that `end` in a callback, as those of the queue do."""

    def __init__(self, end: Callable[[asyncio.Future[Escalated]], object]) -> None:
        self._end = end

    def __call__(self, *_: Any) -> asyncio.Future[Escalated]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Escalated] = loop.create_future()
        loop.call_later(0.002, self._end, answer)
        return answer


@pytest.mark.parametrize(
    "end",
    [lambda answer: answer.done() or answer.set_exception(StageLateError("left behind")), lambda _answer: None],
    ids=["refused", "late"],
)
def test_a_degraded_request_leaves_nothing_to_the_garbage_collector(end: Any) -> None:
    """Under overload it would hold the event loop for 30 ms every second or two."""
    cascade = ModelCascade(labels=("a", "b"), screen=screen, expert=Futures(end), point=make_point(threshold=0.9))
    item = np.array([0])

    async def gone() -> None:
        await asyncio.sleep(60)

    async def requests(count: int) -> None:
        for _ in range(count):
            (outcome,) = await cascade.classify([item], [item], Budget(time.monotonic(), 5), Timings(), gone)
            assert outcome.degraded == "deadline"
        await asyncio.sleep(0.01)

    async def main() -> int:
        for _ in range(3):  # finalizers of what other tests left behind make work for the next collection
            await requests(2)
            gc.collect()
        gc.disable()
        try:
            await requests(20)
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(main()) < 20


@pytest.mark.parametrize("left_ms", [0.1, 5.0, 50.0, 1_000.0])
def test_an_answer_is_waited_for_until_a_little_before_the_deadline(left_ms: float) -> None:
    kept_ms = left_ms - 1e3 * wait_s(left_ms / 1e3)
    assert 0 < kept_ms <= left_ms / 20 + 1e-9
    assert left_ms < 50 or kept_ms == pytest.approx(2.0), "timers may be late by one millisecond"
