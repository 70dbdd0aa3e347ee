"""From texts and images to answers, for whoever asks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from serving.cascade.cascade import StageAnswer
from serving.errors import FailedItemError, InvalidInputError
from serving.http.classifying import Classifying, failed_item
from serving.http.loop_turns import LoopTurns
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.watch.record import RequestRecord
from tests.serving.asgi import request_of
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
        return await classifying.images(kind, opened, list(map(len, files)), record, request_of())

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
