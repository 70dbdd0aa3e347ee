"""The way of a promise over a real broker: items go, reports come, and come again until they are counted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from serving.arrays import Array
from serving.audit import broker as module
from serving.audit.broker import ID_HEADER, REPORTS, WORK, Broker
from serving.audit.note import NOTE_HEADER, OUTCOME_HEADER, REPLY_HEADER, Note, Report, work_subject
from serving.audit.over_broker import OverBroker, WaysOverBroker, origin_of
from serving.errors import StageRefusedError
from serving.expert.wire import pack, unpack
from tests.broker import Nats, until, with_broker
from tests.conftest import ROOT
from tests.serving.audit.test_auditor import Made, rested, screens

ITEM = np.array([[1, 2, 3]])
LOGITS = np.array([[0.5, 1.5]], dtype=np.float32)


def note_of(number: int) -> Note:
    return Note(id=f"id{number}", request="r", level=0, life=0, label="a", confidence=0.9)


async def answer(broker: Broker, digest: str, *bodies: bytes) -> list[Note]:
    """Report on the next items, as a worker does."""
    notes, left = [], list(bodies)
    async for message in broker.messages(WORK, "worker", work_subject(digest)):
        assert np.array_equal(unpack(message.data)[0], ITEM)
        headers = dict(message.headers or {})
        notes.append(Note.read(headers[NOTE_HEADER]))
        body = left.pop(0)
        reply = {name: headers[name] for name in (ID_HEADER, NOTE_HEADER)}
        outcome = {OUTCOME_HEADER: "answered" if body else "failed"}
        await broker.publish(REPORTS, headers[REPLY_HEADER], body, {**reply, **outcome})
        await message.ack()
        if not left:
            return notes
    raise AssertionError("it never ends")


def test_reports_come_until_they_are_counted_and_what_cannot_be_read_is_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACK_WAIT_S", 0.5)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            way = OverBroker(broker, "abc", "mine:1", "origin")
            for number in range(3):
                await way.send(ITEM, note_of(number))
            await way.send(ITEM, note_of(2))  # again, as after a reply that was lost
            assert await answer(broker, "abc", pack([LOGITS]), b"", b"no arrays") == [note_of(n) for n in range(3)]
            assert way.connected
            running = asyncio.ensure_future(way.run())
            await until(lambda: len(way._came) == 2)
            first, second = sorted(way.taken(), key=lambda report: report.note.id)
            assert (first.note, second.note) == (note_of(0), note_of(1))
            assert first.logits is not None
            assert np.array_equal(first.logits, LOGITS)
            assert second.logits is None
            await way.counted([first])
            await until(lambda: bool(way._came))
            assert {report.note.id for report in way.taken()} == {"id1"}
            running.cancel()

        with_broker(nats.url, work)


def test_two_states_of_one_promise_get_their_own_reports(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            ways = [OverBroker(broker, "abc", "mine:1", origin) for origin in ("one", "two")]
            for number, way in enumerate(ways):
                await way.send(ITEM, note_of(number))
            await answer(broker, "abc", pack([LOGITS]), pack([LOGITS]))
            running = [asyncio.ensure_future(way.run()) for way in ways]
            await until(lambda: all(way._came for way in ways))
            assert [[report.note.id for report in way.taken()] for way in ways] == [["id0"], ["id1"]]
            for task in running:
                task.cancel()

        with_broker(nats.url, work)


def test_an_item_waits_while_the_broker_is_away(tmp_path: Path) -> None:
    nats = Nats(tmp_path / "nats")

    async def work(broker: Broker) -> None:
        sending = asyncio.ensure_future(OverBroker(broker, "abc", "mine:1", "origin").send(ITEM, note_of(0)))
        await asyncio.sleep(0.6)
        assert not sending.done()
        nats.start()
        try:
            await sending
            assert await answer(broker, "abc", pack([LOGITS])) == [note_of(0)]
        finally:
            nats.kill()

    with_broker(nats.url, work, connected=False)


def test_those_that_share_a_folder_have_one_origin_also_after_a_restart(tmp_path: Path) -> None:
    says = f"from serving.audit.over_broker import origin_of, Path; print(origin_of(Path({str(tmp_path / 'audit')!r})))"
    asked = [
        subprocess.Popen([sys.executable, "-c", says], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    names = {process.communicate()[0].strip() for process in asked}
    assert names == {origin_of(tmp_path / "audit")}
    assert [path.name for path in (tmp_path / "audit").iterdir()] == ["origin"]
    (tmp_path / "file").touch()
    alone = {origin_of(None), origin_of(None), origin_of(tmp_path / "other"), origin_of(tmp_path / "file")}
    assert len(alone | names) == 5


def test_ways_of_one_service_differ_by_digest_and_promise() -> None:
    ways = WaysOverBroker("nats://127.0.0.1:4222", None)
    one, other = ways.to("abc", "mine:1"), ways.to("abc", "mine:2")
    assert one._broker is other._broker
    assert one._subject != other._subject
    assert not one.connected


class Elsewhere:
    """A way that remembers what went, and brings what the test puts into `came`."""

    def __init__(self, refuses: bool = False) -> None:
        self.went: list[Note] = []
        self.came: list[Report] = []
        self.acknowledged: list[str] = []
        self.connected, self._refuses = True, refuses

    async def send(self, item: Array, note: Note) -> None:
        if self._refuses:
            raise StageRefusedError("full")
        self.went.append(note)

    async def run(self) -> None:
        await asyncio.Event().wait()

    def taken(self) -> list[Report]:
        came, self.came = self.came, []
        return came

    async def counted(self, reports: Sequence[Report]) -> None:
        self.acknowledged += [report.note.id for report in reports]

    def bring(self, note: Note, label: int | None) -> None:
        logits = None if label is None else np.eye(2, dtype=np.float32)[[label]]
        self.came.append(Report(note, logits, None))


def test_items_go_elsewhere_and_count_once_when_their_reports_are_saved(tmp_path: Path) -> None:
    async def main() -> tuple[Made, Elsewhere]:
        way = Elsewhere()
        made = Made(tmp_path, elsewhere=way)
        made.auditor.look([screens()] * 4, lambda place: np.array([place]), "request")
        await rested(made)
        assert made.expert.asked == []
        assert made.counts() == (0, 0, 0)
        assert {note.request for note in way.went} == {"request"}
        for note, label in zip(way.went, (0, 1, None, 0), strict=True):
            way.bring(note, label)
            way.bring(note, label)
        await made.auditor.flush()
        return made, way

    made, way = asyncio.run(main())
    assert made.counts() == (3, 1, 1)
    assert made.auditor.watched().broker == "connected"
    assert set(way.acknowledged) == {note.id for note in way.went}
    assert sum(told.counts()[0].total() for told, _ in made.told) == 3, "metrics count them, too"
    again = Made(tmp_path, elsewhere=(other := Elsewhere()))
    for note in way.went:
        other.bring(note, 0)
    asyncio.run(again.auditor.flush())
    assert again.counts() == (3, 1, 1), "after a death between saving and acknowledging they come again"
    assert set(other.acknowledged) == {note.id for note in way.went}


def test_reports_of_an_earlier_life_do_not_count_and_those_of_a_later_one_wait() -> None:
    made = Made(elsewhere=(way := Elsewhere()))
    made.auditor._state.life = 1
    for life in (0, 2):
        way.bring(Note(id=str(life), request="", level=0, life=life, label="a", confidence=0.9), 1)
    asyncio.run(made.auditor.flush())
    assert made.counts() == (0, 0, 0)
    assert way.acknowledged == ["0"]


def test_what_is_not_saved_is_not_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = Made(tmp_path / "file", elsewhere=(way := Elsewhere()))
    way.bring(Note(id="1", request="", level=0, life=0, label="a", confidence=0.9), 0)
    asyncio.run(made.auditor.flush())
    assert made.counts() == (1, 0, 0)
    assert way.acknowledged == []


def test_what_the_broker_refuses_is_dropped_and_its_absence_is_told() -> None:
    async def main() -> Made:
        made = Made(elsewhere=(way := Elsewhere(refuses=True)))
        way.connected = False
        made.look([screens()] * 3, [1, 2, 3])
        await rested(made)
        return made

    made = asyncio.run(main())
    assert made.counts() == (0, 0, 3)
    assert made.auditor.watched().broker == "away"
    assert Made().auditor.watched().broker is None
