"""Whether an operating point's promise applies to what runs: checked before the start if asked for, and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from serving.cascade.deferral import OperatingPoint
from serving.errors import ArtifactError
from serving.model.artifact import Artifact, VariantName
from serving.model.golden import check_golden
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session, served_variant

LOOK_EVERY_S = 15.0
"""An expert on another machine may be replaced at any time."""


class Promising(Protocol):
    """A cascade that knows whether its promise applies."""

    @property
    def name(self) -> str:
        """What it is called in metrics."""

    async def against_promise(self) -> list[str]:
        """Why the promise does not apply to what runs, a sentence for each reason. Asks the expert what it runs."""


def require_golden(artifact: Artifact, variant: VariantName | None = None) -> None:
    """Raise ArtifactError unless a variant, by default the one for this machine, computes what was certified."""
    against = check_golden(artifact, Runner(Session(artifact, variant), preprocessor(artifact))).against
    if against:
        raise ArtifactError(f"strict=true refuses to serve it: {against}")


def require_promise(screen: Artifact, expert: Artifact, point: OperatingPoint, *, expert_here: bool) -> None:
    """Raise ArtifactError unless the promise of `point` applies to what this machine would run.

    `expert_here`: the expert runs on this machine, too.
    """
    require_golden(screen, point.screen_variant)
    if not expert_here:
        return
    got = served_variant(expert)
    if got != point.expert_variant:
        raise ArtifactError(
            f"strict=true refuses to serve it: the promise was made for the expert's variant {point.expert_variant}, "
            f"and {got} would run on this machine; choose the operating point again here"
        )
    require_golden(expert, got)


async def watch_promises(
    cascades: Iterable[Promising], tell: Callable[[str, bool], None], *, strict: bool = False
) -> asyncio.Task[None]:
    """Look now, and then every LOOK_EVERY_S seconds in the task that is returned.

    `tell` takes a cascade's name and whether its promise applies. With `strict`, raises ArtifactError when one does not
    apply now: experts on other machines could not be looked at before.
    """
    watched = list(cascades)
    for cascade in watched:
        against = await cascade.against_promise()
        tell(cascade.name, not against)
        if against and strict:
            raise ArtifactError(f"strict=true refuses to serve {cascade.name}s: {'; '.join(against)}")
    return asyncio.create_task(_watch(watched, tell))


async def _watch(watched: Iterable[Promising], tell: Callable[[str, bool], None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for cascade in watched:
            tell(cascade.name, not await cascade.against_promise())
