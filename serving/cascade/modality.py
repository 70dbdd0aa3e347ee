"""One kind of input in the API process: its screen, its queue to the expert, and what /models says of both."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serving.arrays import Array, Logits
from serving.cascade.cascade import ModelCascade
from serving.cascade.deferral import OperatingPoint
from serving.cascade.drift import Drift, DriftMonitor
from serving.errors import ArtifactError, StageError
from serving.expert.call import ExpertClient
from serving.expert.queue import Escalations
from serving.load.budget import MAX_MS
from serving.model.artifact import Artifact
from serving.model.preprocess import (
    WARM_UP_BATCH_SIZES,
    Content,
    Preprocessor,
    example_items,
    items_of,
    preparing_bytes,
    preprocessor,
    same_preprocessing,
    warm_up,
)
from serving.model.session import Session, model_labels
from serving.model.text import TextEncoder
from serving.settings import Settings
from serving.trace import CallSpan

WARM_UP_LIMIT_S = 30.0
# The least of three calls counts. The second and the third round begin only where those before were quick.
WARM_UP_ROUNDS, WARM_UP_QUICK_S = 3, 5.0

logger = logging.getLogger("sieve")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """An artifact and its tag in the model store."""

    artifact: Artifact
    tag: str


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """An operating point and its tag in the model store."""

    point: OperatingPoint
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCascade:
    """A screen, an expert and the operating point that was chosen for the two.

    Raises ArtifactError when they do not belong together.
    """

    screen: StoredModel
    expert: StoredModel
    point: StoredPoint

    def __post_init__(self) -> None:
        require_pair(self.screen.artifact, self.expert.artifact, self.point.point)


class Modality:
    """A cascade for `text` or `image`, opened for this process.

    The screen runs here; `expert` asks the process that runs the expert, whose manifest alone is needed here.
    `tell_drift` is given the state of the drift monitor now and then, `tell_call` the span of each call to the expert.
    """

    def __init__(
        self,
        stored: StoredCascade,
        expert: ExpertClient,
        settings: Settings,
        *,
        tell_drift: Callable[[Drift], None],
        tell_call: Callable[[CallSpan], None] | None = None,
    ) -> None:
        screen, point = stored.screen.artifact, stored.point.point
        self._stored, self._expert, self._max_batch_size = stored, expert, settings.max_batch_size
        self._session = Session(screen, point.screen_variant, threads=settings.screen_threads)
        self._ours = preprocessor(screen)
        same = same_preprocessing(screen, stored.expert.artifact)
        self._theirs = self._ours if same else preprocessor(stored.expert.artifact)
        warm_up(self._session, screen, self._ours)
        self._monitor = DriftMonitor(point, tell_drift)
        self.escalations = Escalations(
            expert,
            max_batch_size=settings.max_batch_size,
            batch_window_ms=settings.batch_window_ms,
            calls_in_flight=settings.calls_in_flight,
            tell=tell_call,
        )
        self.cascade = ModelCascade(
            labels=screen.manifest.labels,
            screen=_screen(self._session, self._ours),
            expert=self.escalations.submit,
            point=point,
            observe=self._monitor.observe,
        )
        self.name = screen.manifest.settings.kind
        self.screen_tag, self.expert_tag = stored.screen.tag, stored.expert.tag
        self.screen_info = model_labels(screen, self._session)

    def prepare(self, content: Content) -> tuple[Array, Array]:
        """The screen's item and the expert's item for a text, or for an image whose header was read.

        Raises InvalidInputError for an image that cannot be decoded.
        """
        return items_of(self._ours, self._theirs, content)

    def preparing_bytes(self, content: Content) -> int:
        """The memory that `prepare` takes while it works."""
        return preparing_bytes(self._ours, self._theirs, content)

    async def describe(self) -> dict[str, Any]:
        """What /models says of this cascade. Asks the expert what it runs."""
        stored, session = self._stored, self._session
        screen_runs = {"asked": session.provider_asked, "got": session.provider_got, "variant": session.variant}
        expert_runs = await self._expert.describe()
        # The promise holds for one variant of the expert; a GPU runs another one.
        applies = expert_runs.get("variant") == stored.point.point.expert_variant
        return {
            "screen": _described(stored.screen, screen_runs),
            "expert": _described(stored.expert, expert_runs),
            "operating_point": {"tag": stored.point.tag, "applies": applies, **_promised(stored.point.point)},
            "drift": asdict(self._monitor.state()),
            "breaker": self.escalations.breaker.state(time.monotonic()),
        }

    async def warm_up_expert(self) -> bool:
        """Call the expert with every batch size and length, up to three times, which also measures what they take.

        False when it cannot be reached yet. A warning tells of an expert that is too slow for any budget, or that has
        not answered within `WARM_UP_LIMIT_S`; its screen answers alone.
        """
        begin_s = time.monotonic()
        try:
            async with asyncio.timeout(WARM_UP_LIMIT_S):
                for number in range(WARM_UP_ROUNDS):
                    if number == 0 or time.monotonic() - begin_s < WARM_UP_QUICK_S:
                        await self._warm_up_shapes()
        except StageError:
            return False
        except TimeoutError:
            logger.warning(
                "%s was warmed up for %.0f s and has not answered every batch size and length; requests may find it "
                "slower than they expect, and then their screen answers alone",
                self.expert_tag,
                WARM_UP_LIMIT_S,
            )
        self._warn_if_slow()
        return True

    async def _warm_up_shapes(self) -> None:
        forecast = self.escalations.forecast
        for item in self._examples():
            for size in WARM_UP_BATCH_SIZES:
                # No request waits for a shape that takes longer than the largest budget. Twice the size takes about
                # twice as long.
                twice_ms = 2 * forecast.run_ms(size // 2, len(item)) if size > 1 else 0.0
                if size > self._max_batch_size or twice_ms > MAX_MS:
                    break
                await self.escalations.measure([item] * size)
            if forecast.run_ms(1, len(item)) > MAX_MS:  # longer items are no faster
                return

    def _warn_if_slow(self) -> None:
        for item in self._examples():
            took_ms = self.escalations.forecast.run_ms(1, len(item))
            if took_ms > MAX_MS:
                logger.warning(
                    "%s takes %s ms for one item of length %d and no budget is longer than %s ms: its screen answers "
                    "such items and longer ones alone, as degraded",
                    self.expert_tag,
                    f"{took_ms:,.0f}",
                    len(item),
                    f"{MAX_MS:,.0f}",
                )
                return

    def _examples(self) -> list[Array]:
        return example_items(self._stored.expert.artifact.manifest.settings)


def require_pair(screen: Artifact, expert: Artifact, point: OperatingPoint) -> None:
    """Raise ArtifactError when a screen, an expert and an operating point do not belong together."""
    point.require_pair(screen.digest, expert.digest)
    if screen.manifest.labels != expert.manifest.labels:
        theirs = [", ".join(artifact.manifest.labels) for artifact in (screen, expert)]
        raise ArtifactError(
            f"screen and expert must have the same labels, got {theirs[0]} and {theirs[1]}; publish both from one run"
        )


def _screen(session: Session, preprocess: Preprocessor) -> Callable[[Sequence[Array]], Logits]:
    """Items -> logits [items, labels], computed as they were when the operating point was chosen.

    Texts run one by one. Dynamic INT8 takes its ranges from the whole batch, so in company a text could get another
    answer than the promise was made for. On one core a batch of texts is hardly faster than one after the other.
    """
    if isinstance(preprocess, TextEncoder):
        return lambda items: np.concatenate([session.run(preprocess.collate([item])) for item in items])
    return lambda items: session.run(preprocess.collate(items))


def _promised(point: OperatingPoint) -> dict[str, Any]:
    described = point.model_dump(exclude={"reference"})
    described["promise"] = {"statement": point.promise.statement, **described["promise"]}
    return described


def _described(stored: StoredModel, runs: Mapping[str, str]) -> dict[str, Any]:
    manifest = stored.artifact.manifest
    return {
        "tag": stored.tag,
        "digest": stored.artifact.digest,
        "labels": manifest.labels,
        "quality": manifest.quality,
        "data": "synthetic" if manifest.synthetic else "real",
        "execution_provider": dict(runs),
    }
