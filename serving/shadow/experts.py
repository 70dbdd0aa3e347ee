"""How a shadow reaches its own expert, and the served cascade's where the two differ: beside it, or elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from serving.arrays import Array, Logits
from serving.audit.note import ExpertsElsewhere
from serving.cascade.cascade import ModelCascade
from serving.cascade.modality import Modality
from serving.errors import StageDownError, StageLateError
from serving.expert.call import Asked, Escalated, Ran
from serving.load.budget import MAX_MS
from serving.load.direct import DirectWork
from serving.trace import Trace

SETTLE_S = 10.0
"""How long the served cascade's expert beside it may be busy before a difference stays unsettled."""
WARM_UP_RETRY_S, WARM_UP_CALL_MS = 0.5, 1_000.0
TAKE_AGAIN_S = 1.0
PATIENT_MS = 2 * 86_400_000.0
"""Longer than any worker is waited for."""

logger = logging.getLogger("sieve")

BrokerState = Literal["connected", "away"]


class Experts(Protocol):
    """Both experts of a comparison.

    `cascade` is the shadow's, to be asked off the path, with `budget_ms` for an item. `timed`: whether what it takes
    can be compared with what the served one takes. `broker`: whether that of `audit_url` can be reached, None without.
    """

    cascade: ModelCascade
    budget_ms: float
    timed: bool

    @property
    def broker(self) -> BrokerState | None: ...

    async def ready(self) -> None:
        """Returns once the shadow's expert can be asked."""

    async def settle(self, served: Modality, item: Array) -> Logits:
        """What the expert of `served` says of a prepared item: logits [1, labels]. Raises a StageError without any."""


class _InThreads(DirectWork):
    """No work of a shadow is short enough for the event loop."""

    def times(self, units: int) -> bool:
        return False

    def fits(self, units: int) -> bool:
        return False


class Beside:
    """The shadow's expert has a process of its own, and the served cascade's is asked in idle moments."""

    budget_ms, timed, broker = MAX_MS, True, None

    def __init__(self, shadow: Modality) -> None:
        self._shadow = shadow
        self.cascade = replace(shadow.cascade, direct=_InThreads())

    async def ready(self) -> None:
        """Warm up the shadow's expert."""
        while not await self._shadow.warm_up_expert(WARM_UP_CALL_MS):
            await asyncio.sleep(WARM_UP_RETRY_S)

    async def settle(self, served: Modality, item: Array) -> Logits:
        """Once the expert runs no call and none waits for it."""
        try:
            async with asyncio.timeout(SETTLE_S):
                return await served.escalations.ask_when_idle([item], MAX_MS / 1e3)
        except TimeoutError:
            raise StageLateError("the served cascade's expert has no time") from None


class ByWorkers:
    """Workers elsewhere run both experts."""

    budget_ms, timed = PATIENT_MS, False

    def __init__(self, shadow: Modality, elsewhere: ExpertsElsewhere) -> None:
        self._elsewhere, self._digest = elsewhere, shadow.digests["expert"]
        self.cascade = replace(shadow.cascade, direct=_InThreads(), expert=self._ask)
        self._taking: asyncio.Task[None] | None = None

    @property
    def broker(self) -> BrokerState | None:
        """Whether the broker can be reached now."""
        return "connected" if self._elsewhere.connected else "away"

    async def ready(self) -> None:
        """Take answers from now on."""
        self._taking = asyncio.get_running_loop().create_task(self._take())

    async def settle(self, served: Modality, item: Array) -> Logits:
        """By a worker that has the expert of the version that has answered."""
        return await self._elsewhere.ask(served.digests["expert"], item)

    async def _take(self) -> None:
        while True:
            try:
                await self._elsewhere.run()
            except Exception:  # whatever it is, items wait for what comes
                logger.exception("answers of workers cannot be taken; it is tried again")
            await asyncio.sleep(TAKE_AGAIN_S)

    async def _ask(self, items: Sequence[Array], deadline_s: float, trace: Trace | None, asked: Asked) -> Escalated:
        (item,) = items
        asked.sent = True
        return Escalated(await self._elsewhere.ask(self._digest, item), queue_ms=0.0, hop_ms=0.0, expert_ms=0.0)


class NotHere:
    """The client of an expert that workers elsewhere run: no process here has it."""

    async def __call__(self, items: Sequence[Array], traceparent: str | None, left_ms: float) -> Ran:
        """Raises StageDownError."""
        raise StageDownError("workers elsewhere run this expert")

    async def close(self) -> None:
        """Nothing is open."""

    async def describe(self) -> Mapping[str, str]:
        """Nobody says what it runs."""
        return {"error": "workers elsewhere run it"}
