"""A cascade that counts what it is asked, behind what the addresses of all protocols share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.cascade.equal import EqualRequests
from serving.errors import InvalidInputError, StageDownError
from serving.expert.call import Asked, Escalated
from serving.expert.joined import JoinedEscalations
from serving.http.classifying import Classifying, Given
from serving.http.loop_turns import LoopTurns
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.watch.record import RequestRecord
from tests.serving.asgi import request_of
from tests.serving.http.test_api import LONG, MEMORY_BYTES, UNSURE, both, modality, screen

DAMAGED = (7, 7)


class Counted:
    """A cascade for texts or images, with an expert that says b, or is down while `down`; counts what it is asked."""

    def __init__(self, kind: str = "text") -> None:
        self.down, self.screened, self.escalated, self.calls = False, 0, 0, 0
        self.seen: list[tuple[float, bool]] = []
        self.equal: EqualRequests | None = EqualRequests(1_000_000)
        observe = lambda confidence, deferred: self.seen.append((round(confidence, 3), deferred))  # noqa: E731 - one line
        joined = JoinedEscalations(self._submit)
        self.modality = modality(kind, self._prepare, screen=self._screen, observe=observe, joined=joined)
        self.turns = LoopTurns(Admission())

    def _prepare(self, content: Any) -> Any:
        if getattr(content, "size", None) == DAMAGED:
            raise InvalidInputError("image", "must be whole")
        return both(0.0 if content == UNSURE or not isinstance(content, str) else 1.0, truncated=content == LONG)

    def _screen(self, items: Sequence[Any]) -> Any:
        self.screened += len(items)
        return screen(items)

    def _submit(self, items: Sequence[Any], _deadline_s: float, _trace: Any, asked: Asked) -> asyncio.Future[Escalated]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Escalated] = loop.create_future()
        asked.sent = True
        self.escalated += len(items)
        self.calls += 1
        if self.down:
            answer.set_exception(StageDownError("down"))
        else:
            logits = np.tile(np.array([0.0, 9.0], dtype=np.float32), (len(items), 1))
            loop.call_later(0.01, answer.set_result, Escalated(logits, 1.0, 1.0, 1.0))
        return answer

    async def ask(self, *contents: Any) -> tuple[list[Given], RequestRecord]:
        classifying = Classifying(self.turns, MemoryLimit(MEMORY_BYTES), equal=self.equal)
        record = RequestRecord("/anything", "one")
        record.was_read(1000)
        if isinstance(contents[0], bytes):
            files = [await classifying.header(data) for data in contents]
            return await classifying.images(self.modality, files, record, request_of()), record
        characters = sum(map(len, contents))
        return await classifying.texts(self.modality, contents, characters, record, request_of()), record


def how(given: Sequence[Given]) -> list[tuple[str, str | None]]:
    return [(each.answer.stage, each.answer.cached) for each in given]
