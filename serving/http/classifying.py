"""From what a request brings to the cascade's answers: what the addresses of all protocols share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from PIL import Image
from starlette.requests import Request

from serving.arrays import Array
from serving.cascade.cascade import StageAnswer
from serving.cascade.equal import EqualRequests
from serving.cascade.modality import Modality
from serving.errors import FailedItemError, InvalidInputError
from serving.http.heavy import HeavyRunner
from serving.http.intake import Intake
from serving.http.loop_turns import LoopTurns
from serving.http.preparing import DIRECT_FILE_BYTES, Preparing, hung_up
from serving.load.memory import MemoryLimit
from serving.model.formats import ImageFormats
from serving.model.image_header import DEFAULT_FORMATS
from serving.model.pairs import characters_of
from serving.model.preprocess import Content, StageItems
from serving.model.text import Text, TextPair
from serving.watch.payloads import Payloads
from serving.watch.record import RequestRecord

# The digests of so many characters take a tenth of a millisecond; those of more are made in a thread.
DIRECT_CHARACTERS = 65_536

logger = logging.getLogger("sieve")


class Given(NamedTuple):
    """The cascade's answer to an item, and whether a part of its text was not read."""

    answer: StageAnswer
    truncated: bool


class ImageFile(NamedTuple):
    """An image whose header was read, the bytes of its file, and where equal requests are looked for its digest.

    `payload` is the file, if it is to be kept.
    """

    image: Image.Image
    file_bytes: int
    digest: bytes = b""
    payload: bytes | None = None


class Classifying:
    """Classifies texts and images in the turns that `turns` gives.

    `memory` bounds what requests hold. `client_header` names the header that tells clients apart; without it their
    addresses do. Image files are read in the `formats` given. With `equal`, equal requests are answered once.
    `payloads` keeps a share of what is asked.
    """

    def __init__(
        self,
        turns: LoopTurns,
        memory: MemoryLimit,
        client_header: str = "",
        formats: ImageFormats = DEFAULT_FORMATS,
        equal: EqualRequests | None = None,
        payloads: Payloads | None = None,
    ) -> None:
        heavy = HeavyRunner(memory)
        self.formats, self.equal, self._payloads = formats, equal, payloads
        self.intake = Intake(memory, heavy.start_next)
        self._preparing = Preparing(turns, heavy, client_header, formats)

    async def texts(
        self, modality: Modality, texts: Sequence[Text], characters: int, record: RequestRecord, request: Request
    ) -> list[Given]:
        """Answers to texts of so many characters. Raises OverloadedError where they could no longer be on time."""
        if self._payloads is not None:
            self._payloads.texts(modality.name, texts)
        if self.equal is None:
            prepared = await self._preparing.texts(modality, texts, characters, record, request)
            record.timings.end("tokenise")
            return await self._classified(modality, prepared, record, request)
        make = self.equal.text_digests
        digests = make(texts) if characters <= DIRECT_CHARACTERS else await asyncio.to_thread(make, texts)

        async def prepare(places: Sequence[int]) -> dict[int, StageItems]:
            some = [texts[place] for place in places]
            count = sum(characters_of(text) if isinstance(text, TextPair) else len(text) for text in some)
            prepared = await self._preparing.texts(modality, some, count, record, request)
            record.timings.end("tokenise")
            return dict(zip(places, prepared, strict=True))

        given = await self._once(self.equal, modality, digests, texts, prepare, record, request)
        return list(given.values())

    async def shadows(self) -> list[dict[str, Any]]:
        """What /models says of the shadows of the served cascades."""
        return []

    async def header(self, data: bytes, field: str = "image") -> ImageFile:
        """An image file whose head was read and keeps the rules. Raises InvalidInputError where it does not."""
        image = await self._preparing.header(data, field)
        payload = data if self._payloads is not None and self._payloads.drawn() else None
        if self.equal is None:
            return ImageFile(image, len(data), payload=payload)
        small, make = len(data) <= DIRECT_FILE_BYTES, self.equal.digest
        return ImageFile(image, len(data), make(data) if small else await asyncio.to_thread(make, data), payload)

    async def images(
        self, modality: Modality, files: Sequence[ImageFile], record: RequestRecord, request: Request
    ) -> list[Given]:
        """Answers to images.

        Raises OverloadedError where they could no longer be on time or the memory is in use, InvalidInputError where
        an image is damaged.
        """
        self._keep(modality, files)
        if self.equal is None:
            images, file_bytes, *_ = zip(*files, strict=True)
            prepared = await self._preparing.images(modality, images, file_bytes, record, request)
            record.timings.end("decode")
            return await self._classified(modality, prepared, record, request)

        async def prepare(places: Sequence[int]) -> dict[int, StageItems]:
            images, file_bytes, *_ = zip(*(files[place] for place in places), strict=True)
            prepared = await self._preparing.images(modality, images, file_bytes, record, request)
            record.timings.end("decode")
            return dict(zip(places, prepared, strict=True))

        digests, contents = [file.digest for file in files], [file.image for file in files]
        return list((await self._once(self.equal, modality, digests, contents, prepare, record, request)).values())

    async def images_apart(
        self, modality: Modality, files: Sequence[ImageFile], record: RequestRecord, request: Request
    ) -> list[Given | InvalidInputError]:
        """The same, with the error of a damaged image in its place."""
        self._keep(modality, files)
        damaged: dict[int, InvalidInputError] = {}

        async def prepare(places: Sequence[int]) -> dict[int, StageItems]:
            images, file_bytes, *_ = zip(*(files[place] for place in places), strict=True)
            prepared = await self._preparing.images_apart(modality, images, file_bytes, record, request)
            record.timings.end("decode")
            sound = {}
            for place, each in zip(places, prepared, strict=True):
                if isinstance(each, InvalidInputError):
                    damaged[place] = each
                else:
                    sound[place] = each
            return sound

        if self.equal is None:
            sound = await prepare(range(len(files)))
            items = list(sound.values())
            answered = await self._classified(modality, items, record, request) if items else []
            given = dict(zip(sound, answered, strict=True))
        else:
            digests, contents = [file.digest for file in files], [file.image for file in files]
            given = await self._once(self.equal, modality, digests, contents, prepare, record, request)
        return [damaged[place] if place in damaged else given[place] for place in range(len(files))]

    def _keep(self, modality: Modality, files: Sequence[ImageFile]) -> None:
        if self._payloads is not None:
            for file in files:
                if file.payload is not None:
                    self._payloads.image(modality.name, file.payload, (file.image.format or "image").lower())

    async def _once(
        self,
        equal: EqualRequests,
        modality: Modality,
        digests: Sequence[bytes],
        contents: Sequence[Content],
        prepare: Callable[[Sequence[int]], Awaitable[dict[int, StageItems]]],
        record: RequestRecord,
        request: Request,
    ) -> dict[int, Given]:
        """Answers to `contents` with these digests, by their places. What is not kept is prepared and classified.

        Items that `prepare` leaves out have none.
        """
        keys = equal.keys(modality, digests)
        found = equal.found(modality, keys)
        _audit_kept(modality, found, contents, record.request_id)
        given = {place: Given(*kept) for place, kept in found.items()}
        record.timings.end("cache")
        missing = [place for place in range(len(keys)) if place not in given]
        if missing:
            prepared = await prepare(missing)
            # An equal request may have been answered while this one waited for its turn.
            waited = list(prepared)
            found = equal.found(modality, [keys[place] for place in waited])
            _audit_kept(modality, found, [contents[place] for place in waited], record.request_id)
            given |= {waited[number]: Given(*kept) for number, kept in found.items()}
            left = [place for place in waited if place not in given]
            if left:
                left_keys, items = [keys[place] for place in left], [prepared[place] for place in left]
                answered = await self._classified(modality, items, record, request, left_keys)
                for place, key, each in zip(left, left_keys, answered, strict=True):
                    given[place] = each
                    equal.keep(modality, key, each.answer, each.truncated)
            else:
                self._preparing.screened(record)
        given = dict(sorted(given.items()))
        answers = [each.answer for each in given.values()]
        record.answered(modality, answers, sum(each.truncated for each in given.values()))
        return given

    async def _classified(
        self,
        modality: Modality,
        prepared: Sequence[StageItems],
        record: RequestRecord,
        request: Request,
        keys: Sequence[bytes] | None = None,
    ) -> list[Given]:
        assert record.budget is not None, "an endpoint reads the budget before it classifies"
        items, expert_items, truncated = zip(*prepared, strict=True)
        screened = partial(self._preparing.screened, record)
        gone = hung_up(request)
        try:
            answers = await modality.cascade.classify(
                items, expert_items, record.budget, record.timings, gone, screened, trace=record.trace, keys=keys
            )
        finally:
            screened()
        record.answered(modality, answers, sum(truncated))
        if modality.auditor is not None:
            modality.auditor.look(answers, expert_items.__getitem__, record.request_id)
        return list(map(Given, answers, truncated))


def _audit_kept(
    modality: Modality, found: Mapping[int, tuple[StageAnswer, bool]], contents: Sequence[Content], request_id: str
) -> None:
    """Kept answers are audited as all are; those drawn are prepared for the expert once they are asked about."""
    if modality.auditor is not None and found:
        places = list(found)
        prepare = partial(_expert_item, modality)
        modality.auditor.look(
            [answer for answer, _ in found.values()],
            lambda number: partial(prepare, contents[places[number]]),
            request_id,
        )


def _expert_item(modality: Modality, content: Content) -> Array:
    return modality.prepare(content).expert


def failed_item(field: str, record: RequestRecord) -> FailedItemError:
    """The error for an item that no stage has answered, which the request names `field`. Logs it."""
    logger.error("request %s: both models failed on %s", record.request_id, field)
    return FailedItemError(field)
