"""Experts elsewhere, asked over a real broker by one who waits for their answers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import numpy as np
import pytest
from nats.errors import Error

from serving.audit import broker as broker_module
from serving.audit import experts as module
from serving.audit.broker import ID_HEADER, REPORTS, RETRY_S, WORK, Broker, MessageTooLargeError
from serving.audit.experts import ExpertsOverBroker
from serving.audit.note import OUTCOME_HEADER, REPLY_HEADER, work_subject
from serving.audit.over_broker import WaysOverBroker
from serving.errors import StageDownError, StageLateError
from serving.expert.wire import pack, unpack
from tests.broker import Nats, with_broker

LOGITS = np.array([[0.5, 1.5]], dtype=np.float32)


def item_of(number: int) -> np.ndarray:
    return np.array([[number, 2, 3]])


async def answer(broker: Broker, digest: str, bodies: dict[int, bytes], nothing: str = "failed") -> None:
    """Answer the items of these numbers as a worker does, with this outcome where there is no body."""
    left = dict(bodies)
    async for message in broker.messages(WORK, f"worker-{digest}", work_subject(digest)):
        headers = dict(message.headers or {})
        body = left.pop(int(unpack(message.data)[0][0, 0]))
        reply = {ID_HEADER: headers[ID_HEADER], OUTCOME_HEADER: "answered" if body else nothing}
        while True:
            try:
                await broker.publish(REPORTS, headers[REPLY_HEADER], body, reply)
                break
            except StageDownError:  # a new disk has no stream at first
                await asyncio.sleep(0.05)
        await message.ack()
        if not left:
            return


def test_each_answer_is_of_the_item_that_was_asked_about(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            ours, others = ExpertsOverBroker(broker), ExpertsOverBroker(broker)
            running = [asyncio.ensure_future(each.run()) for each in (ours, others)]
            asking = [
                asyncio.ensure_future(way.ask("abc", item_of(number)))
                for number, way in enumerate((ours, others, ours, ours))
            ]
            answered = {number: pack([LOGITS + number]) for number in range(2)}
            await answer(broker, "abc", answered | {2: b"", 3: b"no arrays"})
            assert np.array_equal(await asking[0], LOGITS)
            assert np.array_equal(await asking[1], LOGITS + 1)
            for failed in asking[2:]:
                with pytest.raises(StageDownError):
                    await failed
            assert not ours._asked
            for task in running:
                task.cancel()

        with_broker(nats.url, work)


async def lie(broker: Broker, messages: int) -> None:
    """Wait until so many items lie in the stream of the server that is reached now."""
    while True:
        try:
            assert broker._js is not None
            if (await broker._js.stream_info(WORK.name)).state.messages == messages:
                return
        except (Error, OSError, TimeoutError, AssertionError):
            pass
        await asyncio.sleep(0.05)


def test_an_item_waits_for_its_broker_and_is_sent_again_when_that_has_lost_its_disk(tmp_path: Path) -> None:
    nats = Nats(tmp_path / "nats")
    other = Nats(tmp_path / "other")
    other.port = nats.port

    async def work(broker: Broker) -> None:
        way = ExpertsOverBroker(broker)
        running, asking = asyncio.ensure_future(way.run()), asyncio.ensure_future(way.ask("abc", item_of(7)))
        await asyncio.sleep(0.3)
        try:
            nats.start()
            await lie(broker, 1)
            nats.kill()
            other.start()
            await answer(broker, "abc", {7: pack([LOGITS])})
            assert np.array_equal(await asking, LOGITS)
        finally:
            running.cancel()
            nats.kill()
            other.kill()

    with_broker(nats.url, work, connected=False)


def test_an_item_lies_once_in_a_stream_however_long_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr(broker_module, "SAME_ID_S", 0.2)  # so that the server soon forgets that it had an id
    monkeypatch.setattr(module, "LONG_S", 0.5)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way = ExpertsOverBroker(broker)
            asking = asyncio.ensure_future(way.ask("abcdef", item_of(1)))
            await lie(broker, 1)
            await asyncio.sleep(5 * RETRY_S)
            await lie(broker, 1)
            asking.cancel()

        with_broker(nats.url, work)
    said = [record.getMessage() for record in logged if "has waited" in record.getMessage()]
    assert len(said) == 1, "once for an item"
    assert "a worker that has the expert abcdef" in said[0]


def test_an_item_that_a_worker_with_another_expert_refuses_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFUSED_S", 0.1)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way = ExpertsOverBroker(broker)
            running, asking = asyncio.ensure_future(way.run()), asyncio.ensure_future(way.ask("abc", item_of(5)))
            await answer(broker, "abc", {5: b""}, nothing="refused")
            await answer(broker, "abc", {5: pack([LOGITS])})
            assert np.array_equal(await asking, LOGITS)
            running.cancel()

        with_broker(nats.url, work)


def test_after_a_day_nobody_waits_any_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DAY_S", 0.3)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way = ExpertsOverBroker(broker)
            with pytest.raises(StageLateError):
                await way.ask("abc", item_of(5))
            assert not way._asked

        with_broker(nats.url, work)


def test_one_who_gives_up_is_told_nothing_and_an_item_too_large_is_refused(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way = ExpertsOverBroker(broker)
            running, asking = asyncio.ensure_future(way.run()), asyncio.ensure_future(way.ask("abc", item_of(1)))
            await lie(broker, 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            next_one = asyncio.ensure_future(way.ask("abc", item_of(2)))
            await answer(broker, "abc", {1: pack([LOGITS]), 2: pack([LOGITS + 1])})
            assert np.array_equal(await next_one, LOGITS + 1)
            with pytest.raises(MessageTooLargeError):
                await way.ask("abc", np.zeros((1, 1_000_000), dtype=np.float32))
            running.cancel()

        with_broker(nats.url, work)


def test_ways_lead_to_experts_too(tmp_path: Path) -> None:
    ways = WaysOverBroker("nats://127.0.0.1:9", tmp_path)
    assert not ways.experts().connected
