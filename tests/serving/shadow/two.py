"""A served cascade and its shadow in one process: real screens, and experts that answer as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving.cascade.cascade import StageAnswer
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint
from serving.expert.call import Ran
from serving.load.budget import MAX_MS, Budget
from serving.model.artifact import Artifact
from serving.settings import Settings
from serving.shadow.counts import Compared, Counts
from serving.shadow.experts import Beside, Experts
from serving.shadow.shadow import Shadow
from serving.timings import Timings
from tests.conftest import TinyCascades, messages

TEXT = messages(1, seed=5)[0][0]


def stored_cascade(tiny: TinyCascades, name: str = "tiny-text") -> StoredCascade:
    screen, expert = (
        StoredModel(Artifact.open(tiny.artifact(name, role)), f"{name}-{role}:1") for role in ("screen", "expert")
    )
    point = OperatingPoint.read(tiny.artifact(name, "operating-point"))
    return StoredCascade(screen=screen, expert=expert, point=StoredPoint(point, f"{name}-operating-point:1"))


class Expert:
    """Says that each item has the label at `place`; waits for `gate`, and raises `error` if there is one."""

    def __init__(self, labels: int) -> None:
        self.labels, self.place = labels, 0
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.asked = 0

    async def __call__(self, items: Sequence[Any], *_: Any) -> Ran:
        self.asked += 1
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        logits = np.zeros((len(items), self.labels), dtype=np.float32)
        logits[:, self.place] = 20.0
        return Ran(logits, 0.1)

    async def describe(self) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        """Nothing is open."""


class Told:
    """What the shadow reports."""

    def __init__(self) -> None:
        self.times, self.waited_s, self.new, self.last = 0, 0.0, Counts(), Compared.of(Counts(), 0.005)

    def took(self, served_s: float, shadow_s: float) -> None:
        assert min(served_s, shadow_s) > 0
        self.times += 1

    def counted(self, new: Counts, compared: Compared) -> None:
        self.new, self.last = self.new.plus(new), compared

    def waits(self, seconds: float) -> None:
        self.waited_s = seconds


class Two:
    """A served cascade and its shadow of the same screen. Either trusts the screen always, or never."""

    def __init__(
        self,
        stored: StoredCascade,
        *,
        served_asks: bool = False,
        shadow_asks: bool = True,
        experts: Callable[[Modality], Experts] = Beside,
    ) -> None:
        self.labels = len(stored.screen.artifact.manifest.labels)
        self.experts = [Expert(self.labels), Expert(self.labels)]
        self.busy, self.told = False, Told()
        self.served, self.copy = (
            Modality(_trusting(stored, asks), expert, Settings(), tell_drift=lambda _: None)
            for asks, expert in zip((served_asks, shadow_asks), self.experts, strict=True)
        )
        self.shadow = Shadow(
            self.copy,
            experts(self.copy),
            share=1.0,
            margin=0.005,
            idle=lambda: not self.busy,
            folder=None,
            reporter=lambda _: self.told,
            seed=1,
        )
        self.screen_says = 0

    async def warm(self) -> None:
        """Ready, and what the screen says of TEXT is known."""
        self.shadow.start()
        while not self.shadow._warm:
            await asyncio.sleep(0.01)
        items = self.served.prepare(TEXT)
        answer = self.served.cascade.screen_head.answers(
            self.served.cascade.screen([items.screen]), self.served.cascade.labels, 1.0
        )[0]
        assert isinstance(answer.label, str)
        self.screen_says = self.served.cascade.labels.index(answer.label)

    def other(self, number: int) -> int:
        """The place of another label than the screen's."""
        return (self.screen_says + number) % self.labels

    async def ask(self) -> StageAnswer:
        """A request, which the shadow is shown."""
        items, timings = self.served.prepare(TEXT), Timings()
        timings.end("tokenise")
        budget = Budget(timings.start_s, MAX_MS)
        (answer,) = await self.served.cascade.classify([items.screen], [items.expert], budget, timings)
        self.shadow.look(self.served, [TEXT], [answer], timings)
        return answer

    async def outcomes(self, count: int) -> dict[str, int]:
        """What became of the drawn items, once so many have ended; those that are none are left out."""
        while True:
            found = (await self.shadow.describe()).outcomes
            del found["waiting"]
            if sum(found.values()) >= count:
                return {name: number for name, number in found.items() if number}
            await asyncio.sleep(0.01)


def _trusting(stored: StoredCascade, asks: bool) -> StoredCascade:
    point = stored.point.point.model_copy(update={"threshold": 1.1 if asks else 0.0})
    return replace(stored, point=StoredPoint(point, stored.point.tag))
