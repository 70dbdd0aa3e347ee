"""From what a request brings to the cascade's answers: what the addresses of all protocols share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from PIL import Image
from starlette.requests import Request

from serving.cascade.cascade import StageAnswer
from serving.cascade.modality import Modality
from serving.errors import FailedItemError
from serving.http.heavy import HeavyRunner
from serving.http.intake import Intake
from serving.http.loop_turns import LoopTurns
from serving.http.preparing import Preparing, hung_up
from serving.load.memory import MemoryLimit
from serving.model.formats import ImageFormats
from serving.model.image_header import DEFAULT_FORMATS
from serving.model.preprocess import StageItems
from serving.model.text import Text
from serving.watch.record import RequestRecord

logger = logging.getLogger("sieve")


class Given(NamedTuple):
    """The cascade's answer to an item, and whether a part of its text was not read."""

    answer: StageAnswer
    truncated: bool


class Classifying:
    """Classifies texts and images in the turns that `turns` gives.

    `memory` bounds what requests hold. `client_header` names the header that tells clients apart; without it their
    addresses do. Image files are read in the `formats` given.
    """

    def __init__(
        self,
        turns: LoopTurns,
        memory: MemoryLimit,
        client_header: str = "",
        formats: ImageFormats = DEFAULT_FORMATS,
    ) -> None:
        heavy = HeavyRunner(memory)
        self.formats = formats
        self.intake = Intake(memory, heavy.start_next)
        self._preparing = Preparing(turns, heavy, client_header, formats)

    async def texts(
        self, modality: Modality, texts: Sequence[Text], characters: int, record: RequestRecord, request: Request
    ) -> list[Given]:
        """Answers to texts of so many characters. Raises OverloadedError where they could no longer be on time."""
        prepared = await self._preparing.texts(modality, texts, characters, record, request)
        record.timings.end("tokenise")
        return await self._classified(modality, prepared, record, request)

    async def header(self, data: bytes, field: str = "image") -> Image.Image:
        """An image file whose head was read and keeps the rules. Raises InvalidInputError where it does not."""
        return await self._preparing.header(data, field)

    async def images(
        self,
        modality: Modality,
        images: Sequence[Image.Image],
        file_bytes: Sequence[int],
        record: RequestRecord,
        request: Request,
    ) -> list[Given]:
        """Answers to images from files of so many bytes.

        Raises OverloadedError where they could no longer be on time or the memory is in use, InvalidInputError where
        an image is damaged.
        """
        prepared = await self._preparing.images(modality, images, file_bytes, record, request)
        record.timings.end("decode")
        return await self._classified(modality, prepared, record, request)

    async def _classified(
        self, modality: Modality, prepared: Sequence[StageItems], record: RequestRecord, request: Request
    ) -> list[Given]:
        assert record.budget is not None, "an endpoint reads the budget before it classifies"
        items, expert_items, truncated = zip(*prepared, strict=True)
        screened = partial(self._preparing.screened, record)
        try:
            answers = await modality.cascade.classify(
                items, expert_items, record.budget, record.timings, hung_up(request), screened, trace=record.trace
            )
        finally:
            screened()
        record.answered(modality, answers, sum(truncated))
        return list(map(Given, answers, truncated))


def failed_item(field: str, record: RequestRecord) -> FailedItemError:
    """The error for an item that no stage has answered, which the request names `field`. Logs it."""
    logger.error("request %s: both models failed on %s", record.request_id, field)
    return FailedItemError(field)
