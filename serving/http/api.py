"""The endpoints of the API: they read requests, ask the cascades and write answers.

`serving.http.guard` adds what all of them share: request ids, admission, timings and errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from serving.arrays import Array
from serving.cascade.cascade import DIRECT_BATCH_SIZE, Gone, StageAnswer
from serving.cascade.modality import Modality
from serving.errors import InvalidInputError, NotServedError, kind_of
from serving.http.body import MAX_TEXTS, as_number, image_and_budget, json_object, required
from serving.http.fast_path import Endpoint
from serving.http.guard import Enter, Guard, JsonObject, described, to_bytes
from serving.http.heavy import HeavyRunner
from serving.http.intake import Intake
from serving.http.loop_turns import LoopTurns
from serving.http.mount import Methods
from serving.http.openapi import openapi
from serving.http.scrape import Exposed, metrics_endpoint
from serving.load.budget import check_budget_ms
from serving.load.heavy import HeavyWork, Kind
from serving.load.memory import MemoryLimit
from serving.model.image import read_header
from serving.model.preprocess import Content
from serving.model.text import check_text
from serving.watch.record import RequestRecord

METHODS: Methods = {
    "/classify_text": "POST",
    "/classify_texts": "POST",
    "/classify_image": "POST",
    "/models": "GET",
    "/metrics": "GET",
    "/docs.json": "GET",
}
CLIENT_CHARACTERS = 128
# More characters or pixels than this would delay other requests by milliseconds, so they go to a thread.
DIRECT_UNITS: Mapping[Kind, int] = {"text": 2_500, "PNG": 250_000, "JPEG": 250_000}
# So many characters or pixels take about a microsecond, and an item takes so many more of them.
MICROSECOND: Mapping[Kind, int] = {"text": 1, "PNG": 100, "JPEG": 100}
ITEM_MICROSECONDS = 50


def api_endpoints(
    modalities: Mapping[str, Modality], guard: Guard, metrics: Exposed, memory: MemoryLimit, client_header: str = ""
) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS, over the cascades in `modalities`, keyed by `text` and `image`.

    `memory` bounds what requests hold. `client_header` names the header that tells clients apart; without it their
    addresses do.
    """
    api = Api(modalities, guard.turns, memory, client_header)

    described_once = to_bytes(openapi())

    async def docs(_request: Request) -> Response:
        return Response(described_once, media_type="application/json")

    return {
        "/classify_text": guard.limited("/classify_text", api.classify_text),
        "/classify_texts": guard.limited("/classify_texts", api.classify_texts),
        "/classify_image": guard.limited("/classify_image", api.classify_image),
        "/models": guard.free(api.models),
        "/metrics": metrics_endpoint(metrics),
        "/docs.json": docs,
    }


class Api:
    """One handler for each address, for a `Guard` to surround."""

    def __init__(
        self, modalities: Mapping[str, Modality], turns: LoopTurns, memory: MemoryLimit, client_header: str = ""
    ) -> None:
        self._modalities, self._turns, self._client_header = modalities, turns, client_header
        self._heavy = HeavyRunner(memory)
        self._intake = Intake(memory, self._heavy.start_next)

    async def classify_text(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("text")
        with self._intake.open(request) as arriving:
            body = await json_object(arriving, {"text", "budget_ms"})
            text = check_text(required(body, "text"))
            record.was_read(_budget_ms(request, body.get("budget_ms")), arriving.waited_s)
            enter()
            ((item, expert_item),) = await self._prepared(modality, [text], "text", len(text), record, request)
            record.timings.end("tokenise")
            (answer,) = await self._classified(modality, [item], [expert_item], record, request)
        return _entry(modality, answer)

    async def classify_texts(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("text")
        with self._intake.open(request) as arriving:
            body = await json_object(arriving, {"texts", "budget_ms"})
            good, entries = _checked(required(body, "texts"))
            record.was_read(_budget_ms(request, body.get("budget_ms")), arriving.waited_s)
            enter()
            if good:
                texts = list(good.values())
                prepared = await self._prepared(modality, texts, "text", sum(map(len, texts)), record, request)
                record.timings.end("tokenise")
                items, expert_items = zip(*prepared, strict=True)
                answers = await self._classified(modality, items, expert_items, record, request)
                for place, answer in zip(good, answers, strict=True):
                    entries[place] = _entry(modality, answer)
        return {"answers": entries}

    async def classify_image(self, request: Request, record: RequestRecord, enter: Enter) -> JsonObject:
        modality = self._modality("image")
        with self._intake.open(request) as arriving:
            data, stated = await image_and_budget(arriving)
            arriving.keep(len(data))
            record.was_read(_budget_ms(request, stated), arriving.waited_s)
            image = read_header(data)
            kind: Kind = "JPEG" if image.format == "JPEG" else "PNG"
            enter()
            pixels = image.width * image.height
            ((item, expert_item),) = await self._prepared(modality, [image], kind, pixels, record, request)
            record.timings.end("decode")
            (answer,) = await self._classified(modality, [item], [expert_item], record, request)
        return _entry(modality, answer)

    async def models(self, _request: Request, _record: RequestRecord) -> JsonObject:
        return {name: await modality.describe() for name, modality in self._modalities.items()}

    async def _prepared(
        self,
        modality: Modality,
        contents: Sequence[Content],
        kind: Kind,
        units: int,
        record: RequestRecord,
        request: Request,
    ) -> list[tuple[Array, Array]]:
        """The screen's and the expert's item of each content, prepared in a thread where that takes long.

        `units` are characters or pixels. The request then has its turn, unless its items are so many that the screen
        runs in a thread. Raises OverloadedError where the work or the turn would come too late.
        """
        alone = len(contents) <= DIRECT_BATCH_SIZE
        if units <= DIRECT_UNITS[kind]:
            if alone:
                work = (units // MICROSECOND[kind] + ITEM_MICROSECONDS * len(contents)) / 1e3
                await self._turns.take(record, modality.name, work)
            return [modality.prepare(content) for content in contents]
        assert record.budget is not None, "an endpoint reads the budget before it prepares"
        heavy = HeavyWork(
            client=self._client(request),
            kind=kind,
            units=units,
            size_bytes=sum(modality.preparing_bytes(content) for content in contents),
            deadline_s=record.budget.deadline_s + record.sending_s,
        )
        prepared = await self._heavy.run(
            heavy, lambda: [modality.prepare(content) for content in contents], _hung_up(request)
        )
        if alone:
            await self._turns.take(record, f"{modality.name}, prepared", len(contents))
        return prepared

    def _client(self, request: Request) -> str:
        """What tells clients apart: the header that a trusted proxy sets, else the address of the connection."""
        named = request.headers.get(self._client_header) if self._client_header else None
        return named[:CLIENT_CHARACTERS] if named else request.client.host if request.client else ""

    async def _classified(
        self,
        modality: Modality,
        items: Sequence[Array],
        expert_items: Sequence[Array],
        record: RequestRecord,
        request: Request,
    ) -> list[StageAnswer]:
        assert record.budget is not None, "an endpoint reads the budget before it classifies"
        screened = partial(self._turns.release, record)
        answers = await modality.cascade.classify(
            items, expert_items, record.budget, record.timings, _hung_up(request), screened, trace=record.trace
        )
        record.answered(modality, answers)
        return answers

    def _modality(self, name: str) -> Modality:
        modality = self._modalities.get(name)
        if modality is None:
            article = "an" if name == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {name} cascade; start it with --arg {name}=NAME"
            )
        return modality


def _checked(texts: object) -> tuple[dict[int, str], list[JsonObject]]:
    """The sound texts by their place, and an entry for each place, with the error of a text that is not sound."""
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
        got = f"a list of {len(texts)}" if isinstance(texts, list) else kind_of(texts)
        raise InvalidInputError("texts", f"must be a list of 1 to {MAX_TEXTS} strings, got {got}; send fewer or more")
    entries: list[JsonObject] = [{} for _ in texts]
    good: dict[int, str] = {}
    for place, text in enumerate(texts):
        try:
            good[place] = check_text(text, f"texts[{place}]")
        except InvalidInputError as error:
            entries[place] = {"error": described(error)}
    return good, entries


def _entry(modality: Modality, given: StageAnswer) -> JsonObject:
    answer = given.answer
    return {
        "label": answer.label,
        "confidence": answer.confidence,
        "scores": dict(zip(modality.cascade.labels, answer.scores, strict=True)),
        "stage": given.stage,
        "escalated": given.escalated,
        "degraded": given.degraded,
        "models": {"screen": modality.screen_tag, "expert": modality.expert_tag},
    }


def _budget_ms(request: Request, stated: object) -> float:
    """The smaller of the body's budget and the one in X-Budget-Ms."""
    budget_ms = check_budget_ms(stated)
    header = request.headers.get("x-budget-ms")
    if header is not None:
        from_header = check_budget_ms(as_number(header, "X-Budget-Ms"), "X-Budget-Ms")
        budget_ms = from_header if stated is None else min(budget_ms, from_header)
    return budget_ms


def _hung_up(request: Request) -> Gone:
    """A function that returns when the client closes its connection. Call it after the body was read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
