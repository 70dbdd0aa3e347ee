"""What one kind of input needs in the API process: preprocessing, the screen, and what is said of both models."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from serving.arrays import Array, Logits
from serving.cascade.cascade import ModelCascade
from serving.cascade.deferral import OperatingPoint
from serving.cascade.drift import Drift, DriftMonitor
from serving.errors import ArtifactError, StageError
from serving.expert.call import CALL_LIMIT_S, ExpertCall
from serving.expert.queue import Escalations
from serving.model.artifact import Artifact
from serving.model.preprocess import (
    WARM_UP_BATCH_SIZES,
    Content,
    Preprocessor,
    example_items,
    items_of,
    preprocessor,
    same_preprocessing,
    warm_up,
)
from serving.model.session import Session
from serving.model.text import TextEncoder
from serving.settings import Settings
from serving.trace import CallSpan

WARM_UP_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """A cascade and what surrounds it.

    `prepare`: a text, or an image whose header was read, -> (screen's item, expert's item).
    """

    name: str
    """text or image"""
    cascade: ModelCascade
    prepare: Callable[[Content], tuple[Array, Array]]
    screen_tag: str
    screen_info: Mapping[str, str]
    """digest, variant and provider of the screen, as a metric says it"""
    expert_tag: str
    describe: Callable[[], Awaitable[dict[str, Any]]]
    escalations: Escalations
    warm_up_expert: Callable[[], Awaitable[bool]]
    """Ask the expert every batch size and length once, which also teaches how long it takes; False when it does not
    answer yet.
    """


def model_labels(artifact: Artifact, session: Session) -> dict[str, str]:
    """What tells one served model from another, beside its tag."""
    return {"digest": artifact.digest, "variant": session.variant, "provider": session.provider_got}


def require_pair(screen: Artifact, expert: Artifact, point: OperatingPoint) -> None:
    """ArtifactError when a screen, an expert and an operating point do not belong together."""
    point.require_pair(screen.digest, expert.digest)
    if screen.manifest.labels != expert.manifest.labels:
        theirs = [", ".join(artifact.manifest.labels) for artifact in (screen, expert)]
        raise ArtifactError(
            f"screen and expert must have the same labels, got {theirs[0]} and {theirs[1]}; publish both from one run"
        )


def open_modality(
    *,
    screen: Artifact,
    screen_tag: str,
    expert: Artifact,
    expert_tag: str,
    point: OperatingPoint,
    point_tag: str,
    call: ExpertCall,
    ask_providers: Callable[[], Awaitable[Mapping[str, str]]],
    tell_drift: Callable[[Drift], None],
    tell_call: Callable[[CallSpan], None] | None,
    settings: Settings,
) -> Modality:
    """Open a screen for this process, next to the manifest of the expert that `call` reaches.

    Raises ArtifactError when the two were not published together.
    """
    require_pair(screen, expert, point)
    session = Session(screen, point.screen_variant, threads=settings.screen_threads)
    ours = preprocessor(screen)
    theirs = ours if same_preprocessing(screen, expert) else preprocessor(expert)
    warm_up(session, screen, ours)
    monitor = DriftMonitor(point, tell_drift)
    escalations = Escalations(
        call,
        max_batch_size=settings.max_batch_size,
        batch_window_ms=settings.batch_window_ms,
        calls_in_flight=settings.calls_in_flight,
        tell=tell_call,
    )

    async def describe() -> dict[str, Any]:
        providers = {"asked": session.provider_asked, "got": session.provider_got, "variant": session.variant}
        expert_providers = await ask_providers()
        # A promise made with one variant of the expert says nothing of another one (fp16 on a GPU, say).
        applies = expert_providers.get("variant") == point.expert_variant
        return {
            "screen": _described(screen, screen_tag, providers),
            "expert": _described(expert, expert_tag, expert_providers),
            "operating_point": {"tag": point_tag, "applies": applies, **_without_reference(point)},
            "drift": asdict(monitor.state()),
            "breaker": escalations.breaker.state(time.monotonic()),
        }

    async def warm_up_expert() -> bool:
        try:
            async with asyncio.timeout(WARM_UP_LIMIT_S):
                for item in example_items(expert.manifest.settings):
                    for size in (size for size in WARM_UP_BATCH_SIZES if size <= settings.max_batch_size):
                        # Twice the size takes about twice as long: what would break the limit is of no use anyway.
                        if size > 1 and 4 * escalations.forecast.expected_ms(size // 2, len(item)) > 1e3 * CALL_LIMIT_S:
                            break
                        await escalations.ask([item] * size, math.inf)
        except (StageError, TimeoutError):
            return False
        return True

    cascade = ModelCascade(
        labels=screen.manifest.labels,
        screen=_screen(session, ours),
        expert=escalations.submit,
        point=point,
        observe=monitor.observe,
    )
    return Modality(
        name=screen.manifest.settings.kind,
        cascade=cascade,
        prepare=partial(items_of, ours, theirs),
        screen_tag=screen_tag,
        screen_info=model_labels(screen, session),
        expert_tag=expert_tag,
        describe=describe,
        escalations=escalations,
        warm_up_expert=warm_up_expert,
    )


def _screen(session: Session, preprocess: Preprocessor) -> Callable[[Sequence[Array]], Logits]:
    """Items -> logits [items, labels], as they were when the operating point was chosen.

    Texts go one by one: dynamic INT8 takes its ranges from a whole batch, so in company a text could get another
    answer than the promise was made for; and on a core a batch of texts is hardly faster than one after the other.
    """
    if isinstance(preprocess, TextEncoder):
        return lambda items: np.concatenate([session.run(preprocess.collate([item])) for item in items])
    return lambda items: session.run(preprocess.collate(items))


def _without_reference(point: OperatingPoint) -> dict[str, Any]:
    described = point.model_dump(exclude={"reference"})
    described["promise"] = {"statement": point.promise.statement, **described["promise"]}
    return described


def _described(artifact: Artifact, tag: str, providers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "tag": tag,
        "digest": artifact.digest,
        "labels": artifact.manifest.labels,
        "quality": artifact.manifest.quality,
        "data": "synthetic" if artifact.manifest.synthetic else "real",
        "execution_provider": dict(providers),
    }
