"""The shadows of an API process: opened when it starts, and shown what requests bring and get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request

from serving.cascade.modality import Modality
from serving.cascade.opening import open_cascade
from serving.cascade.served import Served
from serving.ending import in_one_sentence
from serving.errors import InvalidInputError
from serving.expert.open_client import open_client
from serving.expert_tls import ExpertTls
from serving.heap import in_one_heap_now, mapped_apart
from serving.http.cascades import Cascades, Origin
from serving.http.classifying import Classifying, Given, ImageFile
from serving.load.admission import Admission
from serving.model.preprocess import Content
from serving.model.text import Text
from serving.settings import Settings
from serving.shadow.experts import Beside, ByWorkers, NotHere
from serving.shadow.shadow import Shadow
from serving.watch.record import RequestRecord
from serving.watch.shadow_metrics import ShadowMetrics


class Shadows:
    """Opens the cascades of these `origins` as shadows of the first one of `cascades` for their kind of input.

    An error in one of them ends the process with one sentence. `folder` is shared with the other processes of this
    server, `tls` is for experts over https. Workers elsewhere run those without a URL.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        cascades: Cascades,
        settings: Settings,
        admission: Admission,
        folder: Path | None,
        tls: ExpertTls,
    ) -> None:
        self._of: dict[str, Shadow] = {}
        self._served = cascades.served
        if not origins:
            return
        metrics = ShadowMetrics()
        for origin in origins:
            with in_one_sentence(origin.chosen.name):
                opened = in_one_heap_now(_opened, origin, settings, tls)
                of = cascades.served.default(origin.chosen.kind)
            ways = None if origin.expert_url else cascades.ways
            self._of[of.name] = Shadow(
                opened,
                Beside(opened) if ways is None else ByWorkers(opened, ways.experts()),
                share=settings.shadow_share,
                margin=settings.shadow_margin,
                idle=lambda: admission.turns.idle,
                folder=folder,
                reporter=partial(metrics.reporter, opened.kind, shadow=opened.name),
            )

    def start(self) -> None:
        """Compare from now on; call it on the event loop."""
        for shadow in self._of.values():
            shadow.start()

    def classifying(self, *arguments: Any) -> Classifying:
        """What classifies, made of these arguments of `Classifying`; with shadows it shows them every request."""
        return ShadowedClassifying(self._of, self._served, *arguments) if self._of else Classifying(*arguments)


class ShadowedClassifying(Classifying):
    """Classifies, and shows what was asked and answered to the shadow of the cascade, if it is `served` still."""

    def __init__(self, shadows: Mapping[str, Shadow], served: Served, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._shadows, self._served = shadows, served

    async def texts(
        self, modality: Modality, texts: Sequence[Text], characters: int, record: RequestRecord, request: Request
    ) -> list[Given]:
        given = await super().texts(modality, texts, characters, record, request)
        self._show(modality, texts, given, record)
        return given

    async def images(
        self, modality: Modality, files: Sequence[ImageFile], record: RequestRecord, request: Request
    ) -> list[Given]:
        given = await super().images(modality, files, record, request)
        self._show(modality, [file.image for file in files], given, record)
        return given

    async def images_apart(
        self, modality: Modality, files: Sequence[ImageFile], record: RequestRecord, request: Request
    ) -> list[Given | InvalidInputError]:
        found = await super().images_apart(modality, files, record, request)
        pairs = [(file.image, each) for file, each in zip(files, found, strict=True) if isinstance(each, Given)]
        self._show(modality, [image for image, _ in pairs], [given for _, given in pairs], record)
        return found

    async def shadows(self) -> list[dict[str, Any]]:
        return [asdict(await shadow.describe()) for shadow in self._shadows.values()]

    def _show(
        self, modality: Modality, contents: Sequence[Content], given: Sequence[Given], record: RequestRecord
    ) -> None:
        shadow = self._shadows.get(modality.name)
        if shadow is not None and modality is self._served.by_any_name.get(modality.name):
            shadow.look(modality, contents, [each.answer for each in given], record.timings)


def _opened(origin: Origin, settings: Settings, tls: ExpertTls) -> Modality:
    found = open_cascade(*origin.models)
    expert, variant = found.expert, found.point.point.expert_variant
    url = origin.expert_url
    client = open_client(url, expert.tag, expert.artifact, variant, tls) if url else NotHere()
    own = settings.model_copy(update={"screen_threads": 1, "cache_mb": 0})
    with mapped_apart():
        return Modality(found, client, own, tell_drift=lambda _: None)
