"""A worker against a real broker and a real expert: each item is reported on, also after a death, and no other's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.audit import broker as module
from serving.audit.broker import ID_HEADER, WORK, Broker
from serving.audit.note import DIGEST_HEADER, REPLY_HEADER, Note, work_subject
from serving.audit.over_broker import OverBroker
from serving.audit_worker import worker as worker_module
from serving.audit_worker.worker import AuditWorker
from serving.errors import StageDownError
from serving.expert.client import WrongArtifactError
from serving.model.artifact import Artifact
from serving.model.preprocess import items_of, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.broker import Nats, until, with_broker
from tests.conftest import TinyCascades


def note_of(number: int) -> Note:
    return Note(id=f"id{number}", request="r", level=0, life=0, label="a", confidence=0.9)


def test_an_item_is_reported_on_with_the_logits_of_the_expert(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "expert"))
    ours = preprocessor(artifact)
    runner = Runner(Session(artifact), ours)
    items = [items_of(ours, ours, text).expert for text in ("where is my card", "hello")]

    async def ask(item: Array) -> Logits:
        return await asyncio.to_thread(runner.run, [item])

    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way = OverBroker(broker, artifact.digest, "mine:1", "origin")
            worker = AuditWorker(broker, artifact.digest, ask)
            running = [asyncio.ensure_future(each.run()) for each in (way, worker)]
            for number, item in enumerate(items):
                await way.send(item, note_of(number))
            await until(lambda: len(way._came) == 2)
            for report in way.taken():
                assert report.logits is not None
                assert np.array_equal(report.logits, runner.run([items[int(report.note.id[2:])]]))
            assert dict(worker.counts) == {"answered": 2}
            for task in running:
                task.cancel()

        with_broker(nats.url, work)


class Expert:
    """Does what the first number of an item says."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.down = 0

    async def __call__(self, item: Array) -> Logits:
        self.asked.append(int(item[0]))
        if item[0] == -1:
            raise WrongArtifactError("another")
        if item[0] == -2:
            raise RuntimeError("a fault")
        if self.down:
            self.down -= 1
            raise StageDownError("down")
        return np.array([[float(item[0]), 0.0]], dtype=np.float32)


def test_what_is_for_another_artifact_is_refused_and_counted_and_what_fails_is_told(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way, counted = OverBroker(broker, "abc", "mine:1", "origin"), list[str]()
            worker = AuditWorker(broker, "abc", Expert(), counted.append)
            running = [asyncio.ensure_future(each.run()) for each in (way, worker)]
            for number, first in enumerate((7, -1, -2)):
                await way.send(np.array([first]), note_of(number))
            common = {REPLY_HEADER: way._subject, "Sieve-Note": note_of(3).packed()}
            for digest, body in (("abd", b"x"), ("abc", b"no arrays")):
                headers = {**common, ID_HEADER: digest, DIGEST_HEADER: digest}
                await broker.publish(WORK, work_subject("abc"), body, headers)
            await broker.publish(WORK, work_subject("abc"), b"", {})  # from whoever may write into the stream
            await until(lambda: worker.counts.total() == 6)
            assert dict(worker.counts) == {"answered": 1, "refused": 3, "failed": 2}
            assert sorted(counted) == sorted(worker.counts.elements())
            await until(lambda: len(way._came) == 5)
            assert sum(report.logits is None for report in way.taken()) == 4
            for task in running:
                task.cancel()

        with_broker(nats.url, work)


def test_a_worker_does_not_see_the_items_of_another_expert(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            ways = {digest: OverBroker(broker, digest, "mine:1", "origin") for digest in ("abc", "abd")}
            experts = {digest: Expert() for digest in ways}
            workers = [AuditWorker(broker, digest, expert) for digest, expert in experts.items()]
            running = [asyncio.ensure_future(worker.run()) for worker in workers]
            await ways["abc"].send(np.array([1]), note_of(1))
            await ways["abd"].send(np.array([2]), note_of(2))
            await until(lambda: all(worker.counts["answered"] for worker in workers))
            assert {digest: expert.asked for digest, expert in experts.items()} == {"abc": [1], "abd": [2]}
            for task in running:
                task.cancel()

        with_broker(nats.url, work)


def test_an_expert_that_is_down_is_asked_again_and_a_worker_that_ends_leaves_its_item_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACK_WAIT_S", 0.5)
    monkeypatch.setattr(worker_module, "AGAIN_S", 0.1)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way, expert = OverBroker(broker, "abc", "mine:1", "origin"), Expert()
            expert.down = 10**6
            dying = asyncio.ensure_future(AuditWorker(broker, "abc", expert).run())
            await way.send(np.array([5]), note_of(0))
            await until(lambda: len(expert.asked) > 2)
            dying.cancel()
            expert.down = 2
            worker = AuditWorker(broker, "abc", expert)
            running = [asyncio.ensure_future(each.run()) for each in (way, worker)]
            await until(lambda: bool(way._came))
            assert dict(worker.counts) == {"answered": 1}
            for task in running:
                task.cancel()

        with_broker(nats.url, work)
