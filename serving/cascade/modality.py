"""A cascade in the API process: its screen, its queue to the expert, and what /models says of both."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from serving.arrays import Array
from serving.audit.auditor import Auditor
from serving.cascade.cascade import ModelCascade
from serving.cascade.deferral import OperatingPoint
from serving.cascade.described import described_model, described_point
from serving.cascade.drift import Drift, DriftMonitor
from serving.errors import ArtifactError, StageError
from serving.expert.call import ExpertClient
from serving.expert.joined import JoinedEscalations
from serving.expert.queue import Escalations
from serving.load.budget import MAX_MS
from serving.model.apart import apart
from serving.model.artifact import Artifact, TextSettings
from serving.model.golden import check_golden
from serving.model.head import head_of
from serving.model.preprocess import (
    Content,
    StageItems,
    example_items,
    example_windows,
    items_of,
    preparing_bytes,
    preprocessor,
    same_preprocessing,
)
from serving.model.runner import Runner
from serving.model.session import LANES, Session, described, model_labels, runnable
from serving.model.shapes import sizes_up_to
from serving.model.windows import length_of
from serving.settings import LIMITS, Settings
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

    @property
    def name(self) -> str:
        """The name under which its three models are stored."""
        return self.point.tag.partition(":")[0].removesuffix("-operating-point")

    @property
    def version(self) -> str:
        """The version of its operating point, which names the two artifacts that it was chosen for."""
        return self.point.tag.partition(":")[2]


class Modality:
    """A cascade, opened for this process. `kind` says what its input is, `text` or `image`.

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
        self._stored, self._expert, self._stated_calls = stored, expert, settings.calls_in_flight
        variant = runnable(screen.manifest, point.screen_variant)
        self._session = Session(screen, variant, threads=settings.screen_threads)
        self._ours = preprocessor(screen)
        same = same_preprocessing(screen, stored.expert.artifact)
        self._theirs = self._ours if same else preprocessor(stored.expert.artifact)
        runner = Runner(self._session, self._ours)
        runner.warm_up(screen.manifest.settings)
        self.golden = check_golden(screen, runner)
        self._monitor = DriftMonitor(point, tell_drift)
        self.escalations = Escalations(
            expert,
            max_batch_size=settings.max_batch_size,
            max_batch_tokens=settings.max_batch_tokens,
            batch_window_ms=settings.batch_window_ms,
            calls_in_flight=settings.calls_in_flight,
            tell=tell_call,
        )
        self.cascade = ModelCascade(
            labels=screen.manifest.labels,
            screen_head=head_of(screen.manifest),
            expert_head=head_of(stored.expert.artifact.manifest),
            screen=apart(runner.run, example_items(screen.manifest.settings)[0]),
            expert=self.escalations.submit,
            joined=JoinedEscalations(self.escalations.submit) if settings.cache_mb else None,
            point=point,
            observe=self._monitor.observe,
        )
        self.name, self.version = stored.name, stored.version
        self.kind, self.pairs = screen.manifest.settings.kind, takes_pairs(screen)
        self.screen_tag, self.expert_tag = stored.screen.tag, stored.expert.tag
        self.digests = {"screen": screen.digest, "expert": stored.expert.artifact.digest}
        self.screen_info = model_labels(screen, self._session)
        self.point_tag = stored.point.tag
        self.auditor: Auditor | None = None

    def prepare(self, content: Content) -> StageItems:
        """The screen's item and the expert's item of a text, or for an image whose header was read.

        Raises InvalidInputError for an image that cannot be decoded.
        """
        return items_of(self._ours, self._theirs, content)

    def preparing_bytes(self, content: Content) -> int:
        """The memory that `prepare` takes while it works."""
        return preparing_bytes(self._ours, self._theirs, content)

    async def describe(self) -> dict[str, Any]:
        """What /models says of this cascade. Asks the expert what it runs."""
        screen, expert, stored = self._stored.screen, self._stored.expert, self._stored.point
        expert_runs = await self._expert_runs()
        point = stored.point
        return {
            "name": self.name,
            "kind": self.kind,
            "pairs": self.pairs,
            "screen": described_model(screen.tag, screen.artifact, described(self._session), point.screen_temperature),
            "expert": described_model(expert.tag, expert.artifact, expert_runs, point.expert_temperature),
            "operating_point": described_point(stored.tag, point, self._against(expert_runs)),
            "drift": asdict(self._monitor.state()),
            "audit": asdict(self.auditor.watched()) if self.auditor is not None else None,
            "breaker": self.escalations.breaker.state(time.monotonic()),
        }

    def rise(self, threshold: float) -> None:
        """Defer from now on what is below `threshold`, which is higher than the published one."""
        point = self.cascade.point.model_copy(update={"threshold": threshold})
        self.cascade = replace(self.cascade, point=point)

    def tell_drift(self) -> None:
        """Report the state of the drift monitor."""
        self._monitor.tell()

    async def close(self) -> None:
        """Close the connections to the expert that are idle."""
        await self._expert.close()

    async def against_promise(self) -> list[str]:
        """Why the promise does not apply to what runs, a sentence for each reason. Asks the expert what it runs."""
        return self._against(await self._expert_runs())

    async def _expert_runs(self) -> Mapping[str, str]:
        """What the expert says that it runs. As many calls are in flight as it has lanes, if not more are stated."""
        runs = await self._expert.describe()
        if "variant" in runs and (lanes := runs.get(LANES, "1")).isdecimal():
            self.escalations.forecast.side_by_side = max(self._stated_calls, min(int(lanes), LIMITS["calls_in_flight"]))
        return runs

    def _against(self, expert_runs: Mapping[str, str]) -> list[str]:
        point, runs = self._stored.point.point, self._session.variant
        wanted, got = point.expert_variant, expert_runs.get("variant")
        against = [self.golden.against, expert_runs.get("against", "")]
        if runs != point.screen_variant:  # its runtime is missing
            against.append(f"the promise was made for the screen's variant {point.screen_variant}, and {runs} runs")
        # A GPU runs another variant.
        if got is None:
            against.append("it is not known what the expert runs: " + expert_runs.get("error", "it does not say"))
        elif got != wanted:
            against.append(f"the promise was made for the expert's variant {wanted}, and {got} runs")
        return [sentence for sentence in against if sentence]

    async def warm_up_expert(self, longest_ms: float = MAX_MS) -> bool:
        """Call the expert with every batch size and length, up to three times, which also measures what they take.

        No call is made that is expected to take longer than `longest_ms`, but for those of one item.

        False when it cannot be reached yet. A warning tells of an expert that is too slow for any budget, or that has
        not answered within `WARM_UP_LIMIT_S`; its screen answers alone.
        """
        begin_s = time.monotonic()
        await self._expert_runs()
        try:
            async with asyncio.timeout(WARM_UP_LIMIT_S):
                for number in range(WARM_UP_ROUNDS):
                    if number == 0 or time.monotonic() - begin_s < WARM_UP_QUICK_S:
                        await self._warm_up_shapes(longest_ms)
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

    async def _warm_up_shapes(self, longest_ms: float) -> None:
        forecast = self.escalations.forecast
        for item in self._examples():
            for size in sizes_up_to(forecast.max_batch_size):
                # Twice the size takes about twice as long.
                twice_ms = 2 * forecast.run_ms(size // 2, length_of(item)) if size > 1 else 0.0
                if size > forecast.most_items(length_of(item)) or twice_ms > longest_ms:
                    break
                await self.escalations.measure([item] * size)
            if forecast.run_ms(1, length_of(item)) > longest_ms:  # longer items are no faster
                return

    def _warn_if_slow(self) -> None:
        for item in self._examples():
            took_ms = self.escalations.forecast.run_ms(1, length_of(item))
            if took_ms > MAX_MS:
                logger.warning(
                    "%s takes %s ms for one item of length %d and no budget is longer than %s ms: its screen answers "
                    "such items and longer ones alone, as degraded",
                    self.expert_tag,
                    f"{took_ms:,.0f}",
                    length_of(item),
                    f"{MAX_MS:,.0f}",
                )
                return

    def _examples(self) -> list[Array]:
        settings = self._stored.expert.artifact.manifest.settings
        return [*example_items(settings), *example_windows(settings)]


def require_kind(screen: Artifact, kind: str) -> None:
    """Raise ArtifactError when a cascade is not for inputs of `kind`, text or image."""
    got = screen.manifest.settings.kind
    if got != kind:
        raise ArtifactError(f"--arg {kind}= takes a cascade for {kind}s, got one for {got}s; mend the --arg")


def require_pair(screen: Artifact, expert: Artifact, point: OperatingPoint) -> None:
    """Raise ArtifactError when a screen, an expert and an operating point do not belong together."""
    point.require_pair(screen.digest, expert.digest)
    if screen.manifest.labels != expert.manifest.labels:
        theirs = [", ".join(artifact.manifest.labels) for artifact in (screen, expert)]
        raise ArtifactError(
            f"screen and expert must have the same labels, got {theirs[0]} and {theirs[1]}; publish both from one run"
        )
    if takes_pairs(screen) != takes_pairs(expert):
        one, other = ("screen", "expert") if takes_pairs(screen) else ("expert", "screen")
        raise ArtifactError(
            f"screen and expert must both be for pairs of texts or both for single texts, got the {one} for pairs and "
            f"the {other} for single texts; publish both from one run"
        )
    if head_of(screen.manifest).field != head_of(expert.manifest).field:
        raise ArtifactError(
            "screen and expert must both give one label or both label sets, got one of each; publish both from one run"
        )


def takes_pairs(artifact: Artifact) -> bool:
    """Whether an artifact is for pairs of texts."""
    settings = artifact.manifest.settings
    return isinstance(settings, TextSettings) and settings.pairs
