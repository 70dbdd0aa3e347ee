"""What goes to a thread, whose it is, and how long it keeps its place."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request

from serving.cascade.cascade import DIRECT_BATCH_SIZE
from serving.errors import InvalidInputError, OverloadedError
from serving.http import preparing
from serving.http.heavy import HeavyRunner
from serving.http.loop_turns import LoopTurns
from serving.http.preparing import (
    CLIENT_CHARACTERS,
    DIRECT_FILE_BYTES,
    DIRECT_UNITS,
    MICROSECOND,
    Preparing,
    hung_up,
)
from serving.load.admission import Admission
from serving.load.heavy import FIRST_RATES_MS, PLACES, HeavyWork
from serving.load.memory import MemoryLimit
from serving.model.image_header import MAX_BYTES, read_header
from serving.model.preprocess import StageItems
from serving.watch.record import RequestRecord
from tests.serving.asgi import piece, request_of
from tests.serving.model.test_image import encoded, noise

LONG_LIST = ["text"] * (DIRECT_BATCH_SIZE + 1)


class Kitchen:
    """Prepares with a modality that notes its threads; `works` are the pieces of heavy work."""

    def __init__(self, memory_bytes: int = 100, client_header: str = "") -> None:
        self.memory = MemoryLimit(memory_bytes)
        self.works: list[HeavyWork] = []
        self.in_main: list[bool] = []
        heavy = self.heavy = HeavyRunner(self.memory)
        running = heavy.run

        async def noted(work: HeavyWork, *positional: Any, **named: Any) -> Any:
            self.works.append(work)
            return await running(work, *positional, **named)

        heavy.run = noted  # type: ignore[method-assign]  # a spy in front of the real one
        self.preparing = Preparing(LoopTurns(Admission()), heavy, client_header)
        self.modality: Any = SimpleNamespace(name="text", prepare=self._prepare, preparing_bytes=lambda _content: 60)

    def _prepare(self, content: Any) -> Any:
        self.in_main.append(threading.current_thread() is threading.main_thread())
        if content == "damaged" or getattr(content, "damaged", False):
            raise InvalidInputError("image", "must be whole")
        return StageItems(np.zeros(1), np.ones(1))

    async def texts(self, texts: list[str], request: Request | None = None, budget_ms: float = 1000) -> RequestRecord:
        record = RequestRecord("/classify_texts", "one")
        record.was_read(budget_ms)
        prepared = await self.preparing.texts(
            self.modality, texts, sum(map(len, texts)), record, request or request_of()
        )
        assert len(prepared) == len(texts)
        return record

    async def image(self, image: Any, file_bytes: int = 1_000) -> None:
        record = RequestRecord("/classify_image", "one")
        record.was_read(1000)
        await self.preparing.images(self.modality, [image], [file_bytes], record, request_of())
        self.preparing.screened(record)
        await asyncio.sleep(0)


def test_short_texts_are_prepared_on_the_event_loop_in_their_turn() -> None:
    kitchen = Kitchen()

    async def main() -> None:
        record = await kitchen.texts(["text"] * DIRECT_BATCH_SIZE)
        assert record.turn is not None
        kitchen.preparing.screened(record)
        assert record.turn is None

    asyncio.run(main())
    assert kitchen.in_main == [True] * DIRECT_BATCH_SIZE
    assert kitchen.works == []


def test_a_long_text_goes_to_a_thread_and_then_has_its_turn() -> None:
    kitchen = Kitchen()

    async def main() -> None:
        record = await kitchen.texts(["x" * (DIRECT_UNITS["text"] + 1)])
        assert record.turn is not None
        assert record.heavy_work is None

    asyncio.run(main())
    assert kitchen.in_main == [False]
    assert kitchen.memory.work_bytes == 0


def test_a_long_list_keeps_its_place_until_it_is_screened() -> None:
    kitchen = Kitchen()

    async def main() -> None:
        records = [await kitchen.texts(LONG_LIST) for _ in range(PLACES)]
        assert [record.turn for record in records] == [None] * PLACES, "its screen runs in a thread"
        waiting = asyncio.create_task(kitchen.texts(LONG_LIST))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        kitchen.preparing.screened(records[0])
        kitchen.preparing.screened(records[0])
        kitchen.preparing.screened(await waiting)

    asyncio.run(main())
    assert {work.kind for work in kitchen.works} == {"texts"}


def test_an_image_is_weighed_by_its_pixels_and_its_memory() -> None:
    kitchen = Kitchen()

    asyncio.run(kitchen.image(read_header(encoded(noise(500, 500)))))
    assert (kitchen.works, kitchen.in_main) == ([], [True])
    asyncio.run(kitchen.image(read_header(encoded(noise(600, 500), "JPEG"))))
    (work,) = kitchen.works
    assert (work.kind, work.units, work.size_bytes) == ("JPEG", 300_000, 60)
    kitchen.memory.capacity = 50
    with pytest.raises(OverloadedError, match="memory"):
        asyncio.run(kitchen.image(read_header(encoded(noise(600, 500)))))


def test_a_large_file_of_few_pixels_goes_to_a_thread() -> None:
    """It may have very many parts, and each takes time."""
    kitchen = Kitchen()
    asyncio.run(kitchen.image(read_header(encoded(noise(8, 8))), DIRECT_FILE_BYTES))
    asyncio.run(kitchen.image(read_header(encoded(noise(8, 8))), DIRECT_FILE_BYTES + 1))
    assert kitchen.in_main == [True, False]
    (work,) = kitchen.works
    assert work.units == DIRECT_UNITS["PNG"] + 1, "so its time says little of what a pixel takes"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_work_is_counted_by_its_format(kind: str) -> None:
    kitchen = Kitchen()
    asyncio.run(kitchen.image(read_header(encoded(noise(600, 500), kind))))
    assert [(work.kind, work.units) for work in kitchen.works] == [(kind, 300_000)]


def test_what_a_format_takes_is_the_same_for_short_and_for_heavy_work() -> None:
    assert {kind: pytest.approx(1e-3 / units) for kind, units in MICROSECOND.items()} | {
        "texts": 1e-3
    } == FIRST_RATES_MS


@pytest.mark.parametrize("size", [1_000, DIRECT_FILE_BYTES + 1, MAX_BYTES])
def test_the_head_of_a_large_file_is_read_in_a_thread(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def read(data: bytes, *_: Any) -> int:
        threads.append(threading.current_thread() is threading.main_thread())
        return len(data)

    monkeypatch.setattr(preparing, "read_header", read)
    assert asyncio.run(Kitchen().preparing.header(bytes(size))) == size
    assert threads == [size <= DIRECT_FILE_BYTES]


def test_an_error_frees_the_place() -> None:
    kitchen = Kitchen()

    async def main() -> None:
        for _ in range(PLACES + 1):
            with pytest.raises(InvalidInputError):
                await kitchen.texts([*LONG_LIST, "damaged"])

    asyncio.run(main())


def test_the_time_of_sending_is_added_to_the_deadline() -> None:
    kitchen = Kitchen()

    async def main() -> None:
        record = RequestRecord("/classify_texts", "one")
        record.was_read(50, sending_s=3.0)
        await kitchen.preparing.texts(kitchen.modality, LONG_LIST, 4 * len(LONG_LIST), record, request_of())
        assert kitchen.works[0].deadline_s == pytest.approx(record.timings.start_s + 3.05)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("header", "sent", "client"),
    [
        ("", {"x-client": "shop"}, "10.0.0.1"),
        ("X-Client", {"x-client": "shop"}, "shop"),
        ("X-Client", {}, "10.0.0.1"),
        ("X-Client", {"x-client": "x" * 1000}, "x" * CLIENT_CHARACTERS),
    ],
)
def test_clients_are_told_apart_by_the_header_or_by_their_address(
    header: str, sent: dict[str, str], client: str
) -> None:
    kitchen, request = Kitchen(client_header=header), request_of(headers=sent)
    request.scope["client"] = ("10.0.0.1", 1234)
    asyncio.run(kitchen.texts(LONG_LIST, request))
    assert [work.client for work in kitchen.works] == [client]


def test_a_client_that_hangs_up_is_noticed() -> None:
    request = request_of(piece(b"the rest"), {"type": "http.disconnect"})
    asyncio.run(asyncio.wait_for(hung_up(request)(), 60))


@pytest.mark.parametrize("count", [2, DIRECT_BATCH_SIZE + 1])
def test_a_damaged_image_of_several_teaches_nothing_and_leaves_no_place_taken(count: int) -> None:
    kitchen = Kitchen(memory_bytes=10_000)
    rates = kitchen.heavy._places._rates_ms
    before = dict(rates)

    async def main() -> None:
        record = RequestRecord("/classify_images", "one")
        record.was_read(1000)
        shape = {"format": "PNG", "width": 1_000, "height": 1_000}
        images: Any = [SimpleNamespace(**shape, damaged=place == 1) for place in range(count)]
        prepared = await kitchen.preparing.images_apart(kitchen.modality, images, [1_000] * count, record, request_of())
        assert [isinstance(each, InvalidInputError) for each in prepared] == [place == 1 for place in range(count)]
        assert record.turn is not None, "the others are screened in their turn"
        kitchen.preparing.screened(record)

    asyncio.run(main())
    assert set(kitchen.in_main) == {False}
    assert kitchen.memory.work_bytes == 0
    assert rates == before
