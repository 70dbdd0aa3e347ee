"""Whatever breaks, and between whichever two steps: what a service promises holds, and it comes to rest again."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from serving.watch.metrics import Metrics
from tests.simulation.world import HEAVY_TEXTS, LABELS, Client, World, world

SEEDS, AT_ONCE = 10_000, 250
QUICK = 1_000
"""So many seeds are among the quick tests."""
RECOVERS_S = 20.0
"""Longer than the breaker leaves an expert alone."""
STARTS = [pytest.param(start, marks=() if start < QUICK else pytest.mark.slow) for start in range(0, SEEDS, AT_ONCE)]


@pytest.mark.parametrize("start", STARTS)
def test_nothing_is_lost_answered_twice_or_left_behind(start: int, metrics: Metrics) -> None:
    for seed in range(start, start + AT_ONCE):
        with world(seed, metrics) as (made, runner):
            try:
                runner.run(scenario(made))
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise


async def scenario(made: World) -> None:
    made.loop.between = made.between
    rng, at_s = made.rng, made.loop.time()
    rate_per_s, burst = rng.choice([20, 200, 1000]), rng.choice([1, 1, 4])
    for _ in range(rng.randint(5, 30)):
        # Now and then so long that the breaker asks again.
        at_s += rng.expovariate(rate_per_s / burst) + (rng.random() < 0.05)
        for _ in range(rng.randint(1, burst)):
            items, budget_ms = rng.choice([1, 1, 1, 1, 3, HEAVY_TEXTS]), rng.choice([5.0, 50.0, 50.0, 200.0])
            made.loop.call_at(at_s, partial(made.ask, items=items, budget_ms=budget_ms, at_s=at_s))
    await asyncio.sleep(at_s - made.loop.time())
    await asyncio.sleep(0)
    await ended(made)
    made.calm = True
    made.expert.breaks("well")
    for client in made.clients:
        check(client, made)
    await asyncio.sleep(RECOVERS_S)
    at_rest(made)
    await recovers(made)
    at_rest(made)
    twice = [number for number, times in made.expert.answered.items() if times > 1]
    assert not twice, f"the expert computed {twice} twice"


async def ended(made: World) -> None:
    """Wait until every request has ended; one that nobody answers would wait for ever."""
    tasks = [client.task for client in made.clients if client.task is not None]
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)


def check(client: Client, made: World) -> None:
    """One response, complete, in time and to its own question."""
    starts = [message for message in client.sent if message["type"] == "http.response.start"]
    ends = [m for m in client.sent if m["type"] == "http.response.body" and not m.get("more_body")]
    if client.left:
        assert len(starts) <= 1
        return
    assert client.task is not None
    assert client.task.exception() is None
    assert len(starts) == len(ends) == 1
    assert client.status in (200, 503)
    if client.status != 200:
        return
    answers = client.answers()
    assert len(answers) == len(client.numbers)
    for number, answer in zip(client.numbers, answers, strict=True):
        assert answer["stage"] in ("screen", "expert")
        if answer["stage"] == "expert":
            assert answer["label"] == LABELS[number % len(LABELS)], "the answer to another question"
            assert answer["degraded"] is None
    # The screens of those who work at the same time hold the event loop.
    slack_ms = 2 * HEAVY_TEXTS * made.screen_ms * 1.5 + 5
    assert client.late_ms <= slack_ms, f"{client.late_ms:.1f} ms after the deadline"


def at_rest(made: World) -> None:
    """Every limit is where it was, and nothing waits."""
    assert made.admission.in_flight == 0
    assert made.admission.turns.idle
    assert made.admission.turns.ahead_ms(made.loop.time()) == 0
    assert made.memory.held_bytes == 0
    assert not made.classifying.intake.arriving
    assert made.escalations.waiting == 0
    made.audits.at_rest()
    assert made.expert.in_the_way == []
    assert not made.escalations._under_way
    assert not made.escalations._tasks
    assert not made.guard.turns._waiters
    heavy = made.classifying._preparing._heavy
    assert [*heavy._turns, *heavy._places._running, *heavy._places._waiting] == []
    assert len(asyncio.all_tasks()) == 1, "this one"


async def recovers(made: World) -> None:
    """After a while without faults, the expert is asked again and answers within an ordinary budget."""
    for _ in range(40):
        await asyncio.sleep(0.5)
        client = made.ask(unsure=True, budget_ms=50.0)
        await ended(made)
        check(client, made)
        if client.status == 200 and client.answers()[0]["stage"] == "expert":
            return
    raise AssertionError(f"the expert is well and not asked: {made.escalations.breaker.state(made.loop.time())}")
