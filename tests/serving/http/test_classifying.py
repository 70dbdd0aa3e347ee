"""From texts and images to answers, for whoever asks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.cascade import equal as equal_module
from serving.cascade.cascade import StageAnswer
from serving.cascade.equal import EqualRequests
from serving.errors import FailedItemError, InvalidInputError
from serving.expert.joined import JoinedEscalations
from serving.http.classifying import DIRECT_CHARACTERS, Classifying, Given, failed_item
from serving.http.loop_turns import LoopTurns
from serving.http.preparing import DIRECT_FILE_BYTES
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.watch.payloads import Payloads
from serving.watch.record import RequestRecord
from tests.serving.asgi import request_of
from tests.serving.http.counted import DAMAGED, Counted, how
from tests.serving.http.test_api import LONG, MEMORY_BYTES, SURE, UNSURE, Spy, both, modality
from tests.serving.model.test_image import encoded, noise


def classified(kind: Any, images: list[bytes] | None = None, texts: list[str] | None = None) -> Any:
    record = RequestRecord("/anything", "one")
    record.was_read(1000)

    async def work() -> Any:
        classifying = Classifying(LoopTurns(Admission()), MemoryLimit(MEMORY_BYTES))
        if texts is not None:
            return await classifying.texts(kind, texts, sum(map(len, texts)), record, request_of())
        files = images or []
        opened = [await classifying.header(data, f"image[{place}]") for place, data in enumerate(files)]
        return await classifying.images(kind, opened, record, request_of())

    return asyncio.run(work()), record


def test_texts_get_answers_in_their_order_and_the_record_is_told() -> None:
    given, record = classified(modality(), texts=[SURE, UNSURE, LONG])
    assert [(each.answer.degraded, each.truncated) for each in given] == [(None, False), ("down", False), (None, True)]
    assert (len(record.answers), record.truncated, record.modality.kind) == (3, 1, "text")
    assert [name for name, _ in record.timings.parts()] == ["read", "tokenise", "screen", "queue"]


def test_images_of_several_formats_are_one_request() -> None:
    seen = []

    def prepare(image: Any) -> Any:
        seen.append(image.format)
        return both(1.0)

    given, record = classified(modality("image", prepare), [encoded(noise(8, 8), kind) for kind in ("PNG", "GIF")])
    assert (len(given), seen) == (2, ["PNG", "GIF"])
    assert [name for name, _ in record.timings.parts()] == ["read", "decode", "screen"]


def test_a_cascade_is_told_when_the_client_has_gone() -> None:
    told = []

    class Waiting(Spy):
        async def classify(self, *positional: Any, **named: object) -> list[StageAnswer]:
            await positional[4]()
            told.append("gone")
            return await super().classify(*positional, **named)

    kind = modality()
    kind.cascade = Waiting()
    record = RequestRecord("/anything", "one")
    record.was_read(1000)

    async def ask() -> None:
        async with asyncio.timeout(60):
            classifying = Classifying(LoopTurns(Admission()), MemoryLimit(0))
            await classifying.texts(kind, ["x"], 1, record, request_of({"type": "http.disconnect"}))

    asyncio.run(ask())
    assert told == ["gone"]


def test_a_bad_image_is_named_by_its_field() -> None:
    with pytest.raises(InvalidInputError, match=r"^image\[1\]: must not be empty"):
        classified(modality("image"), [encoded(noise(8, 8)), b""])


def test_an_item_on_which_both_models_failed_is_logged_under_the_request(logged: list[logging.LogRecord]) -> None:
    assert isinstance(failed_item("text", RequestRecord("/anything", "one")), FailedItemError)
    assert [record.getMessage() for record in logged] == ["request one: both models failed on text"]


def test_an_equal_request_has_the_kept_answer_and_counts_as_another_one() -> None:
    mine = Counted()
    (first, _), (second, record) = (asyncio.run(mine.ask(UNSURE, LONG)) for _ in range(2))
    assert (how(first), how(second)) == ([("expert", None), ("screen", None)], [("expert", "kept"), ("screen", "kept")])
    assert [each.answer.answer for each in first] == [each.answer.answer for each in second]
    assert [each.answer.escalated for each in second] == [False, False]
    assert (mine.screened, mine.escalated, mine.seen) == (2, 1, [(0.5, True), (1.0, False)] * 2)
    assert (len(record.answers), record.truncated, record.modality) == (2, 1, mine.modality)
    assert [name for name, _ in record.timings.parts()] == ["read", "cache"]


def test_the_audit_sees_each_answer_once_with_the_experts_item_kept_or_not() -> None:
    mine = Counted()
    looked: list[tuple[str, str | None, float]] = []

    def look(answers: Sequence[StageAnswer], item: Any, _request_id: str) -> None:
        for place, given in enumerate(answers):
            found = item(place)
            expert_item = found() if callable(found) else found
            looked.append((given.stage, given.cached, float(expert_item[0])))

    mine.modality.auditor = SimpleNamespace(look=look)
    asyncio.run(mine.ask("one", UNSURE))
    assert looked == [("screen", None, 1.0), ("expert", None, 0.0)]
    looked.clear()
    asyncio.run(mine.ask("two", UNSURE, "one"))
    assert sorted(looked, key=str) == [("expert", "kept", 0.0), ("screen", "kept", 1.0), ("screen", None, 1.0)]


def test_of_a_list_only_what_is_not_kept_is_classified() -> None:
    mine = Counted()
    asyncio.run(mine.ask("one", UNSURE))
    given, record = asyncio.run(mine.ask("two", UNSURE, "one", "three"))
    assert how(given) == [("screen", None), ("expert", "kept"), ("screen", "kept"), ("screen", None)]
    assert (mine.screened, mine.escalated, len(mine.seen)) == (4, 1, 6)
    assert len(record.answers) == 4


def test_equal_requests_at_once_are_one_item_of_the_expert() -> None:
    mine = Counted()

    async def at_once() -> Any:
        return await asyncio.gather(*(mine.ask(UNSURE) for _ in range(20)))

    answers = asyncio.run(at_once())
    assert mine.escalated == 1
    assert sum(given.answer.escalated for (given,), _ in answers) == 1
    assert {(given.answer.stage, given.answer.degraded) for (given,), _ in answers} == {("expert", None)}
    assert len(mine.seen) == 20, "drift sees each of them"


def test_a_degraded_answer_is_not_given_again() -> None:
    mine = Counted()
    mine.down = True
    ((degraded,), _) = asyncio.run(mine.ask(UNSURE))
    mine.down = False
    ((full,), _) = asyncio.run(mine.ask(UNSURE))
    assert (degraded.answer.degraded, how([full])) == ("down", [("expert", None)])


def test_a_request_looks_again_when_it_has_waited_for_its_turn() -> None:
    """Twenty sure texts at once: the first is screened, and the others find its answer."""
    mine = Counted()

    async def at_once() -> Any:
        holder = RequestRecord("/anything", "holder")
        holder.was_read(1000)
        await mine.turns.take(holder, "other", 1.0)
        asks = [asyncio.ensure_future(mine.ask(SURE)) for _ in range(20)]
        await asyncio.sleep(0.01)
        mine.turns.release(holder)
        return await asyncio.gather(*asks)

    answers = asyncio.run(at_once())
    assert mine.screened == 1
    assert sorted(str(given.answer.cached) for (given,), _ in answers) == ["None", *["kept"] * 19]
    assert not mine.turns._turns.taken, "all of them gave the thread back"


def test_images_are_equal_where_the_bytes_of_their_files_are() -> None:
    mine = Counted("image")
    picture = noise(8, 8)
    files = [encoded(picture, kind) for kind in ("PNG", "PNG", "BMP")]
    given, _ = asyncio.run(mine.ask(*files))
    assert (mine.screened, mine.escalated) == (3, 2), "the second is equal to the first"
    again, _ = asyncio.run(mine.ask(files[2]))
    assert (how(given)[1], how(again)) == (("expert", "joined"), [("expert", "kept")])


def test_large_contents_are_digested_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[bool] = []
    digest = EqualRequests.digest

    def noted(self: EqualRequests, content: bytes) -> bytes:
        if len(content) > 100:
            here.append(threading.current_thread() is threading.main_thread())
        return digest(self, content)

    monkeypatch.setattr(EqualRequests, "digest", noted)
    asyncio.run(Counted().ask("x" * (DIRECT_CHARACTERS + 1)))
    large = encoded(noise(200, 200), "BMP")
    assert len(large) > DIRECT_FILE_BYTES
    asyncio.run(Counted("image").ask(large))
    asyncio.run(Counted().ask("x" * 200))
    assert here == [False, False, True]


def test_switched_off_nothing_is_digested_kept_or_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the cache is off")

    monkeypatch.setattr(equal_module, "blake2b", never)
    monkeypatch.setattr(JoinedEscalations, "ask", never)
    monkeypatch.setattr(EqualRequests, "found", never)
    for kind, content in (("text", SURE), ("text", UNSURE), ("image", encoded(noise(8, 8), "PNG"))):
        mine = Counted(kind)
        mine.equal = None
        given, record = asyncio.run(mine.ask(content))
        assert given[0].answer.cached is None
        assert "cache" not in dict(record.timings.parts())


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("side", [8, 600], ids=["small", "large"])
def test_a_damaged_image_of_several_has_its_error_in_its_place(keeps: bool, side: int) -> None:
    mine = Counted("image")
    mine.equal = mine.equal if keeps else None
    sound, damaged = encoded(noise(side, side), "PNG"), encoded(noise(*DAMAGED), "PNG")

    async def ask(*files: bytes) -> tuple[list[Any], RequestRecord]:
        classifying = Classifying(mine.turns, MemoryLimit(MEMORY_BYTES), equal=mine.equal)
        record = RequestRecord("/anything", "one")
        record.was_read(1000)
        opened = [await classifying.header(data) for data in files]
        return await classifying.images_apart(mine.modality, opened, record, request_of()), record

    given, record = asyncio.run(ask(damaged, sound, damaged))
    assert [type(each) for each in given] == [InvalidInputError, Given, InvalidInputError]
    assert (mine.screened, len(record.answers)) == (1, 1)
    again, _ = asyncio.run(ask(damaged, sound, damaged))
    assert isinstance(again[1], Given)
    assert mine.screened == (1 if keeps else 2)
    assert [type(each) for each in asyncio.run(ask(damaged))[0]] == [InvalidInputError]


@pytest.mark.parametrize("caches", [False, True])
def test_a_share_of_what_is_asked_is_kept_where_that_is_wanted(tmp_path: Path, caches: bool) -> None:
    payloads = Payloads(tmp_path, 1.0, 10_000_000)
    record = RequestRecord("/anything", "one")
    record.was_read(1000)
    picture, shown = encoded(noise(), "PNG"), modality("image", lambda _content: both(1.0), name="photos")

    async def work() -> None:
        equal = EqualRequests(1_000_000) if caches else None
        classifying = Classifying(LoopTurns(Admission()), MemoryLimit(MEMORY_BYTES), equal=equal, payloads=payloads)
        await classifying.texts(modality(name="mine"), [SURE, LONG], 8, record, request_of())
        for asked in (classifying.images, classifying.images_apart):
            await asked(shown, [await classifying.header(picture)], record, request_of())

    asyncio.run(work())
    payloads.close()
    (lines,) = (tmp_path / "mine").iterdir()
    assert lines.read_text().splitlines() == [f'{{"text":"{SURE}"}}', f'{{"text":"{LONG}"}}']
    assert [path.read_bytes() for path in (tmp_path / "photos").glob("*.png")] == [picture] * 2
