"""A shadow beside a served cascade: who is right, what is dropped, and what fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.cascade.cascade import StageAnswer
from serving.cascade.modality import StoredCascade
from serving.errors import StageDownError
from serving.shadow import shadow as shadow_module
from serving.shadow.shadow import LINE
from serving.timings import Timings
from tests.conftest import TinyCascades
from tests.serving.shadow.two import TEXT, Two, stored_cascade


@pytest.fixture(scope="module")
def stored(tiny_cascades: TinyCascades) -> StoredCascade:
    return stored_cascade(tiny_cascades)


def run(two: Two, work: Callable[[Two], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(120):
            await two.warm()
            await work(two)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("shadow_says", "expert_says", "outcome"), [(0, 0, "same"), (1, 1, "better"), (1, 0, "worse"), (1, 2, "neither")]
)
def test_who_is_right_is_what_the_served_expert_says(
    stored: StoredCascade, shadow_says: int, expert_says: int, outcome: str
) -> None:
    async def work(two: Two) -> None:
        if two.labels < 3 and expert_says == 2:
            pytest.skip("two labels, and one of the two cascades is right")
        two.experts[0].place, two.experts[1].place = two.other(expert_says), two.other(shadow_says)
        before = two.experts[0].asked
        await two.ask()
        assert await two.outcomes(1) == {outcome: 1}
        assert two.experts[0].asked - before == (outcome != "same"), "it is asked about differences alone"
        said = await two.shadow.describe()
        assert (said.escalation_served, said.escalation_shadow) == (0, 1)
        assert (said.took_ms.n, two.told.times) == (1, 1)

    run(Two(stored), work)


def test_where_the_served_expert_has_answered_nobody_is_asked_again(stored: StoredCascade) -> None:
    async def work(two: Two) -> None:
        two.experts[0].place = two.other(1)
        answer = await two.ask()
        assert answer.stage == "expert"
        asked = two.experts[0].asked
        assert await two.outcomes(1) == {"worse": 1}
        assert two.experts[0].asked == asked

    run(Two(stored, served_asks=True, shadow_asks=False), work)


def test_the_served_expert_is_not_asked_while_it_works_for_requests(stored: StoredCascade) -> None:
    async def work(two: Two) -> None:
        two.experts[0].place, two.experts[1].place = two.other(1), two.other(1)
        gate = two.experts[0].gate = asyncio.Event()
        before = two.experts[0].asked
        escalation = asyncio.ensure_future(two.served.escalations.ask([two.served.prepare(TEXT).expert], 1e9))
        while two.experts[0].asked == before:
            await asyncio.sleep(0.01)
        shadow_before = two.experts[1].asked
        await two.ask()
        while two.experts[1].asked == shadow_before:
            await asyncio.sleep(0.01)
        for _ in range(20):  # turns in which it could be asked
            await asyncio.sleep(0.005)
        assert two.experts[0].asked == before + 1
        gate.set()
        await escalation
        assert await two.outcomes(1) == {"better": 1}
        assert two.experts[0].asked == before + 2

    run(Two(stored), work)


def test_a_served_expert_that_fails_leaves_a_difference_unsettled(stored: StoredCascade) -> None:
    async def work(two: Two) -> None:
        two.experts[0].error, two.experts[1].place = StageDownError("it is down"), two.other(1)
        await two.ask()
        assert await two.outcomes(1) == {"unsettled": 1}

    run(Two(stored), work)


def test_what_fails_in_the_shadow_is_counted_and_its_kind_is_logged_once(
    stored: StoredCascade, logged: list[logging.LogRecord]
) -> None:
    async def work(two: Two) -> None:
        two.experts[1].error = StageDownError("it is down")
        await two.ask()
        assert await two.outcomes(1) == {"failed": 1}

        def broken(_content: object) -> Any:
            raise ValueError(TEXT)

        two.copy.prepare = broken  # type: ignore[method-assign]
        for _ in range(2):
            assert (await two.ask()).answer is not None
        assert await two.outcomes(3) == {"failed": 3}

    run(Two(stored), work)
    said = [record.getMessage() for record in logged if "shadow" in record.getMessage()]
    assert said == ["the shadow tiny-text fails on items, and this is said once: ValueError"]


def test_a_busy_process_drops_what_is_drawn(stored: StoredCascade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "PATIENCE_S", 0.02)

    async def work(two: Two) -> None:
        two.busy, before = True, two.experts[1].asked
        for _ in range(LINE + 5):  # more than wait at most, in one turn of the event loop
            two.shadow.look(two.served, [TEXT], [answered], Timings())
        assert await two.outcomes(5) == {"dropped": 5}
        assert await two.outcomes(LINE + 5) == {"dropped": LINE + 5}
        assert two.experts[1].asked == before
        said = await two.shadow.describe()
        assert (said.items, said.verdict) == (0, "undecided")

    two = Two(stored)
    label = two.served.cascade.labels[0]
    answer = two.served.cascade.screen_head.answers(np.zeros((1, two.labels)), two.served.cascade.labels, 1.0)[0]
    answered = StageAnswer(answer=replace(answer, label=label), stage="screen", escalated=False, degraded=None)
    run(two, work)


def test_degraded_answers_are_not_drawn_and_times_are_of_single_new_items(stored: StoredCascade) -> None:
    async def work(two: Two) -> None:
        two.experts[1].place = two.screen_says
        answer = await two.ask()
        await two.outcomes(1)
        two.shadow.look(two.served, [TEXT], [replace(answer, degraded="down")], Timings())
        two.shadow.look(two.served, [TEXT], [replace(answer, answer=None, degraded="failed")], Timings())
        two.shadow.look(two.served, [TEXT], [replace(answer, cached="kept")], Timings())
        two.shadow.look(two.served, [TEXT, TEXT], [answer, answer], Timings())
        assert await two.outcomes(4) == {"same": 4}
        assert (await two.shadow.describe()).took_ms.n == 1

    run(Two(stored), work)


def test_another_version_of_the_served_cascade_is_counted_anew(stored: StoredCascade) -> None:
    async def work(two: Two) -> None:
        two.experts[1].place = two.screen_says
        for _ in range(3):
            await two.ask()
        assert await two.outcomes(3) == {"same": 3}
        two.served = copy(two.served)
        two.served.version = "2"
        await two.ask()
        assert await two.outcomes(1) == {"same": 1}
        assert (await two.shadow.describe()).served_version == "2"

    run(Two(stored), work)


def test_what_was_counted_is_told_once(stored: StoredCascade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "TELL_EVERY_S", 0.01)

    async def work(two: Two) -> None:
        two.experts[1].place = two.screen_says
        for _ in range(4):
            await two.ask()
        await two.outcomes(4)
        while two.told.new.outcomes["same"] < 4:
            await asyncio.sleep(0.01)
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert two.told.new.outcomes["same"] == 4
        assert two.told.last.items == 4

    run(Two(stored), work)
