"""What requests bring and get is shown to the shadow of their cascade. tests/service/test_shadow.py has real ones."""

from __future__ import annotations

import asyncio
from copy import copy
from pathlib import Path
from typing import Any

from serving.cascade.served import Served
from serving.cascade.versions import Versions
from serving.errors import InvalidInputError
from serving.expert_tls import SYSTEM
from serving.http.admin import AdminKey
from serving.http.cascades import Cascades
from serving.http.classifying import Classifying
from serving.http.loop_turns import LoopTurns
from serving.http.shadows import ShadowedClassifying, Shadows
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.settings import Settings
from serving.watch.metrics import Metrics
from serving.watch.record import RequestRecord
from tests.serving.asgi import request_of
from tests.serving.cascade.test_opening import store_of
from tests.serving.http.test_api import MEMORY_BYTES, SURE, UNSURE, both, modality
from tests.serving.model.test_image import encoded, noise


class Shown:
    """Keeps what a shadow would see."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[str | None]]] = []

    def look(self, _modality: Any, contents: Any, answers: Any, _timings: Any) -> None:
        self.seen.append((len(contents), [each.degraded for each in answers]))


def shown(kind: Any, work: Any, name: str | None = None, now: Any = None) -> list[tuple[int, list[str | None]]]:
    shadow: Any = Shown()
    record = RequestRecord("/anything", "one")
    record.was_read(1000)

    async def ask() -> None:
        of, served = {name or kind.name: shadow}, Served([kind if now is None else now])
        await work(ShadowedClassifying(of, served, LoopTurns(Admission()), MemoryLimit(MEMORY_BYTES)), record)

    asyncio.run(ask())
    found: list[tuple[int, list[str | None]]] = shadow.seen
    return found


def test_texts_are_shown_with_their_answers() -> None:
    kind = modality()

    async def work(classifying: Classifying, record: RequestRecord) -> None:
        await classifying.texts(kind, [SURE, UNSURE], 20, record, request_of())

    assert shown(kind, work) == [(2, [None, "down"])]
    assert shown(kind, work, "another") == []
    assert shown(kind, work, now=copy(kind)) == [], "another version is served by now"


def test_of_images_the_sound_ones_are_shown() -> None:
    def prepare(image: Any) -> Any:
        if image.size == (7, 7):
            raise InvalidInputError("image", "must be sound")
        return both(1.0)

    kind = modality("image", prepare)
    data = [encoded(noise(side, side)) for side in (8, 7, 9)]

    async def work(classifying: Classifying, record: RequestRecord) -> None:
        files = [await classifying.header(each) for each in data]
        found = await classifying.images_apart(kind, files, record, request_of())
        assert isinstance(found[1], InvalidInputError)

    assert shown(kind, work) == [(2, [None, None])]


def test_without_a_shadow_nothing_is_in_the_way(tmp_path: Path, metrics: Metrics) -> None:
    settings, versions = Settings(audit_folder=str(tmp_path / "audit")), Versions(tmp_path)
    store, key = store_of(tmp_path), AdminKey("")
    cascades = Cascades([], store, settings, metrics, None, tls=SYSTEM, versions=versions, key=key)
    shadows = Shadows([], cascades, settings, Admission(), tmp_path, SYSTEM)
    shadows.start()
    assert type(shadows.classifying(LoopTurns(Admission()), MemoryLimit(0))) is Classifying
