"""Prepares what requests bring, each in its turn: on the event loop, or in a thread where that takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from PIL import Image
from starlette.requests import Request

from serving.cascade.cascade import DIRECT_BATCH_SIZE, Gone
from serving.cascade.modality import Modality
from serving.errors import InvalidInputError
from serving.http.heavy import HeavyRunner
from serving.http.loop_turns import LoopTurns
from serving.load.heavy import HeavyWork, ImageKind, Kind
from serving.model.formats import ImageFormats
from serving.model.image_header import DEFAULT_FORMATS, read_header
from serving.model.preprocess import Content, StageItems
from serving.model.text import Text
from serving.watch.record import RequestRecord

CLIENT_CHARACTERS = 128
# So many characters or pixels take about a microsecond, and an item takes so many microseconds more. WordPiece takes
# 0.5 for a character of English and up to 2 for one of long words that it does not know.
MICROSECOND: Mapping[Kind, int] = {
    "text": 1,
    "JPEG": 100,
    "PNG": 100,
    "WEBP": 40,
    "GIF": 100,
    "BMP": 100,
    "TIFF": 50,
    "AVIF": 20,
    "HEIF": 20,
}
ITEM_MICROSECONDS = 50
# More characters or pixels than this would delay other requests by milliseconds, so they go to a thread.
DIRECT_UNITS: Mapping[Kind, int] = {kind: 2_500 * units for kind, units in MICROSECOND.items()}
# A larger file goes to a thread for its head and its pixels, however few: it may have very many parts.
DIRECT_FILE_BYTES = 65_536
# A text of a long list costs its screen as much as so many characters more.
SCREEN_CHARACTERS = 1_000


_Prepare = Callable[[Modality, Sequence[Content]], list[StageItems]]


class _SomeDamagedError(Exception):
    """Of several images some are damaged; the others are `prepared`."""

    def __init__(self, prepared: list[StageItems | InvalidInputError]) -> None:
        super().__init__("some of the images are damaged")
        self.prepared = prepared


class Preparing:
    """Gives each request its turn on the event loop (`turns`), and heavy work a place of its own (`heavy`).

    `client_header` names the header that tells clients apart; without it their addresses do. Image files are read in
    the `formats` given.
    """

    def __init__(
        self,
        turns: LoopTurns,
        heavy: HeavyRunner,
        client_header: str = "",
        formats: ImageFormats = DEFAULT_FORMATS,
    ) -> None:
        self._turns, self._heavy, self._client_header, self._formats = turns, heavy, client_header, formats

    async def texts(
        self, modality: Modality, texts: Sequence[Text], characters: int, record: RequestRecord, request: Request
    ) -> list[StageItems]:
        """Texts of so many characters, tokenised. A long list keeps its place until it is `screened`: the longest part.

        Raises OverloadedError where the answer could no longer be on time.
        """
        if len(texts) <= DIRECT_BATCH_SIZE:
            return await self._prepared(modality, texts, "text", characters, record, request, _prepare)
        work = self._work("texts", characters + SCREEN_CHARACTERS * len(texts), 0, record, request)
        return await self._kept(modality, texts, work, record, request, _prepare)

    async def header(self, data: bytes, field: str = "image") -> Image.Image:
        """An image file whose head was read and keeps the rules. Raises InvalidInputError where it does not."""
        if len(data) <= DIRECT_FILE_BYTES:
            return read_header(data, field, self._formats)
        return await asyncio.to_thread(read_header, data, field, self._formats)

    async def images(
        self,
        modality: Modality,
        images: Sequence[Image.Image],
        file_bytes: Sequence[int],
        record: RequestRecord,
        request: Request,
    ) -> list[StageItems]:
        """Images from files of so many bytes, decoded. A long list keeps its place until it is `screened`.

        Raises OverloadedError where the answer could no longer be on time or the memory is in use, InvalidInputError
        where an image is damaged.
        """
        return await self._images(modality, images, file_bytes, record, request, _prepare)

    async def images_apart(
        self,
        modality: Modality,
        images: Sequence[Image.Image],
        file_bytes: Sequence[int],
        record: RequestRecord,
        request: Request,
    ) -> list[StageItems | InvalidInputError]:
        """The same, with the error of a damaged image in its place."""
        try:
            return [*await self._images(modality, images, file_bytes, record, request, _prepare_apart)]
        except _SomeDamagedError as error:
            sound = sum(not isinstance(each, InvalidInputError) for each in error.prepared)
            if sound and record.turn is None:
                await self._turns.take(record, f"{modality.name}, prepared", sound)
            return error.prepared

    async def _images(
        self,
        modality: Modality,
        images: Sequence[Image.Image],
        file_bytes: Sequence[int],
        record: RequestRecord,
        request: Request,
        prepare: _Prepare,
    ) -> list[StageItems]:
        kind = cast(ImageKind, images[0].format)
        # Work on images of other formats counts in units of the first one's.
        microseconds = sum(map(_image_microseconds, images, file_bytes))
        units = round(microseconds * MICROSECOND[kind])
        if len(images) <= DIRECT_BATCH_SIZE:
            return await self._prepared(modality, images, kind, units, record, request, prepare)
        work = self._work(kind, units, _size_bytes(modality, images), record, request)
        return await self._kept(modality, images, work, record, request, prepare)

    def screened(self, record: RequestRecord) -> None:
        """The screen has run, or the request ends: the next one may work."""
        self._turns.release(record)
        work, record.heavy_work = record.heavy_work, None
        if work is not None:
            self._heavy.end(work, ran=True)

    async def _prepared(
        self,
        modality: Modality,
        contents: Sequence[Content],
        kind: Kind,
        units: int,
        record: RequestRecord,
        request: Request,
        prepare: _Prepare,
    ) -> list[StageItems]:
        if units <= DIRECT_UNITS[kind]:
            work_ms = (units // MICROSECOND[kind] + ITEM_MICROSECONDS * len(contents)) / 1e3
            await self._turns.take(record, modality.name, work_ms)
            return prepare(modality, contents)
        work = self._work(kind, units, _size_bytes(modality, contents), record, request)
        prepared = await self._heavy.run(work, lambda: prepare(modality, contents), hung_up(request))
        await self._turns.take(record, f"{modality.name}, prepared", len(contents))
        return prepared

    async def _kept(
        self,
        modality: Modality,
        contents: Sequence[Content],
        work: HeavyWork,
        record: RequestRecord,
        request: Request,
        prepare: _Prepare,
    ) -> list[StageItems]:
        prepared = await self._heavy.run(work, lambda: prepare(modality, contents), hung_up(request), keep=True)
        record.heavy_work = work
        return prepared

    def _work(self, kind: Kind, units: int, size_bytes: int, record: RequestRecord, request: Request) -> HeavyWork:
        assert record.budget is not None, "an endpoint reads the budget before it prepares"
        return HeavyWork(
            client=self._client(request),
            kind=kind,
            units=units,
            size_bytes=size_bytes,
            deadline_s=record.budget.deadline_s + record.sending_s,
        )

    def _client(self, request: Request) -> str:
        """What tells clients apart: the header that a trusted proxy sets, else the address of the connection."""
        named = request.headers.get(self._client_header) if self._client_header else None
        return named[:CLIENT_CHARACTERS] if named else request.client.host if request.client else ""


def hung_up(request: Request) -> Gone:
    """A function that returns when the client closes its connection. Call it after the body was read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


def _image_microseconds(image: Image.Image, file_bytes: int) -> float:
    kind = cast(ImageKind, image.format)
    pixels = image.width * image.height
    units = pixels if file_bytes <= DIRECT_FILE_BYTES else max(pixels, DIRECT_UNITS[kind] + 1)
    return units / MICROSECOND[kind]


def _size_bytes(modality: Modality, contents: Sequence[Content]) -> int:
    """The memory that preparing them takes."""
    return sum(modality.preparing_bytes(content) for content in contents)


def _prepare(modality: Modality, contents: Sequence[Content]) -> list[StageItems]:
    return [modality.prepare(content) for content in contents]


def _prepare_apart(modality: Modality, contents: Sequence[Content]) -> list[StageItems]:
    """The same. Raises _SomeDamagedError once all are tried: what ends early must not teach how long work takes."""
    prepared: list[StageItems | InvalidInputError] = []
    for content in contents:
        try:
            prepared.append(modality.prepare(content))
        except InvalidInputError as error:
            prepared.append(error)
    sound = [each for each in prepared if not isinstance(each, InvalidInputError)]
    if len(sound) < len(prepared):
        raise _SomeDamagedError(prepared)
    return sound
