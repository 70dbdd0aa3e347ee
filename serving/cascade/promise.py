"""Whether an operating point's promise applies to what runs: checked before the start if asked for, and watched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import StoredCascade
from serving.cascade.warming import PATIENCE_S, RETRY_S
from serving.errors import ArtifactError
from serving.expert.call import ExpertClient
from serving.expert.open_client import open_client
from serving.expert_tls import ExpertTls
from serving.model.artifact import Artifact, VariantName
from serving.model.device import AUTO, Wanted
from serving.model.golden import check_golden
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session, served_variant

REFUSED = "strict=true refuses to serve it"
LOOK_EVERY_S = 15.0
"""An expert on another machine may be replaced at any time."""


class Promising(Protocol):
    """A cascade that knows whether its promise applies."""

    @property
    def kind(self) -> str:
        """Of its input, text or image."""

    @property
    def name(self) -> str:
        """What it is called in the store."""

    async def against_promise(self) -> list[str]:
        """Why the promise does not apply to what runs, a sentence for each reason. Asks the expert what it runs."""


def require_golden(artifact: Artifact, variant: VariantName | None = None, wanted: Wanted = AUTO) -> None:
    """Raise ArtifactError unless a variant, by default the one for this machine, computes what was certified."""
    runner = Runner(Session(artifact, variant, wanted=wanted), preprocessor(artifact))
    against = check_golden(artifact, runner).against
    if against:
        raise ArtifactError(f"{REFUSED}: {against}")


def require_promise(
    screen: Artifact,
    expert: Artifact,
    point: OperatingPoint,
    remote: ExpertClient | None,
    wanted: Wanted = AUTO,
) -> None:
    """Raise ArtifactError unless the promise of `point` applies to what would run.

    `remote` asks an expert on another machine what it runs; without it the expert runs on this one, where `wanted`
    says.
    """
    require_golden(screen, point.screen_variant)
    if remote is not None:
        runs = asyncio.run(_described(remote))
        got, against = runs.get("variant", "nothing known"), runs.get("error") or runs.get("against")
        if against:
            raise ArtifactError(f"{REFUSED}: {against}")
    else:
        got = served_variant(expert, wanted)
        require_golden(expert, got, wanted)
    if got != point.expert_variant:
        raise ArtifactError(
            f"{REFUSED}: the promise was made for the expert's variant {point.expert_variant}, and {got} would run; "
            "choose the operating point again on such a machine"
        )


def require_promise_of(found: StoredCascade, expert_url: str, tls: ExpertTls, wanted: Wanted = AUTO) -> None:
    """The same of a cascade of the store; without a URL its expert runs on this machine, where `wanted` says."""
    screen, expert, point = found.screen.artifact, found.expert.artifact, found.point.point
    remote = open_client(expert_url, found.name, expert, point.expert_variant, tls) if expert_url else None
    require_promise(screen, expert, point, remote, wanted)


async def _described(remote: ExpertClient) -> Mapping[str, str]:
    """What an expert runs. Asks for PATIENCE_S until it answers, since both may be starting."""
    end_s = time.monotonic() + PATIENCE_S
    try:
        while "error" in (runs := await remote.describe()) and time.monotonic() < end_s:
            await asyncio.sleep(RETRY_S)
        return runs
    finally:
        await remote.close()


async def watch_promises(cascades: Iterable[Promising], tell: Callable[[Promising, bool], None]) -> None:
    """Look every LOOK_EVERY_S seconds, for ever; `tell` takes a cascade and whether its promise applies."""
    while True:
        await _look(cascades, tell)  # a variable of this loop would keep a version that is served no more
        await asyncio.sleep(LOOK_EVERY_S)


async def _look(cascades: Iterable[Promising], tell: Callable[[Promising, bool], None]) -> None:
    for cascade in cascades:
        tell(cascade, not await cascade.against_promise())
