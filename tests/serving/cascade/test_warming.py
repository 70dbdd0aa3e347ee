"""The experts are warmed up side by side, tried again, and given up."""

from __future__ import annotations

import asyncio
import logging

import pytest

from serving.cascade.warming import WarmUp, warm_up_experts


def answering(*answers: bool) -> tuple[WarmUp, list[bool]]:
    """A warm-up that gives these answers, the last one again and again; and those that it has given."""
    given: list[bool] = []

    async def warm_up() -> bool:
        given.append(answers[min(len(given), len(answers) - 1)])
        return given[-1]

    return warm_up, given


def test_an_expert_is_tried_until_it_answers_and_one_that_has_answered_is_left_alone() -> None:
    (slow, tried), (quick, once) = answering(False, False, True), answering(True)
    asyncio.run(warm_up_experts({"text": slow, "image": quick}, retry_s=0.001))
    assert (tried, once) == ([False, False, True], [True])


def test_an_expert_that_does_not_answer_is_given_up_with_a_word(logged: list[logging.LogRecord]) -> None:
    (dead, tried), (fine, _) = answering(False), answering(True)
    asyncio.run(warm_up_experts({"text": dead, "image": fine}, patience_s=0.05, retry_s=0.001))
    assert tried
    (record,) = logged
    assert record.getMessage().startswith("the expert of text has not answered")


def test_an_expert_that_never_returns_is_given_up_too() -> None:
    cancelled = []

    async def stuck() -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)
        return True

    async def main() -> None:
        await warm_up_experts({"text": stuck}, patience_s=0.01)
        await asyncio.sleep(0)
        assert cancelled

    asyncio.run(main())


def test_a_failure_is_raised_at_once_whatever_the_others_do() -> None:
    async def broken() -> bool:
        raise ValueError("no such length")

    dead, _ = answering(False)
    with pytest.raises(ValueError, match="no such length"):
        asyncio.run(warm_up_experts({"text": dead, "image": broken}, patience_s=1e9, retry_s=0.001))
