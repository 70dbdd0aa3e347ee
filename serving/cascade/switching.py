"""Has another version of a cascade served without losing a request: the old one answers until the new one is ready.

A version is a screen, an operating point and an expert that belong together. The screen is opened, warmed and checked
beside the old one. Then the expert's process loads the other graph beside the old one, and is asked for it. From the
switch on, requests find the new cascade; those that have found the old one keep it and its expert.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from gc import collect

from serving.cascade.modality import Modality, StoredCascade, require_kind, takes_pairs
from serving.cascade.served import Served
from serving.cascade.versions import Versions
from serving.errors import ArtifactError, SieveError, SwitchRefusedError
from serving.heap import give_back, in_one_heap
from serving.model.head import head_of

WARM_UP_CALL_MS = 100.0
"""A call of the warm-up may keep the expert so long from the calls of requests."""
LOOK_EVERY_S = 0.25
FOLLOW_LIMIT_S = 60.0
"""How long the other processes of the API are waited for."""
RETIRE_S = 5.0
"""No request takes longer, so nobody asks by then for the expert of the version before."""

logger = logging.getLogger("sieve")

Find = Callable[[str, str | None], StoredCascade]
"""The cascade of this name and version, the newest for None. Raises ArtifactError. Takes its time."""
Open = Callable[[StoredCascade], Modality]
"""Opens the screen of a cascade and checks it. Raises ArtifactError or ProviderError. Takes its time."""
LoadExpert = Callable[[Modality], Awaitable[None]]
"""Has the expert's process serve the expert of a cascade, too. Raises SwitchRefusedError if it does not."""
Watch = Callable[[Modality, Modality], None]
"""Reports from now on about the first, in the place of the second."""


class Switching:
    """Switches the cascades in `served`, in this process and through `versions` in those beside it."""

    def __init__(
        self, served: Served, versions: Versions, find: Find, opened: Open, load_expert: LoadExpert, watch: Watch
    ) -> None:
        self._served, self._versions = served, versions
        self._find, self._open, self._load_expert, self._watch = find, opened, load_expert, watch
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        versions.serves(served.versions)

    async def switch(self, name: str, version: str | None) -> dict[str, object]:
        """Serve a version, the newest for None, in all processes; return what is served then.

        Raises SwitchRefusedError where it cannot be served. Then nothing changes.
        """
        before = self._of(name).version
        now = await self._switched(name, version)
        self._versions.want(name, now.version, now.expert_tag.partition(":")[2])
        processes = await self._followed(name, now.version)
        return {
            "name": name,
            "version": now.version,
            "before": before,
            "models": {"screen": now.screen_tag, "expert": now.expert_tag},
            "processes": {"switched": processes.count(now.version), "of": len(processes)},
        }

    async def follow(self) -> None:
        """Serve what other processes have switched to, for ever. A version that is refused here is logged, once."""
        refused: dict[str, str] = {}
        while True:
            for name, (version, _) in self._versions.wanted().items():
                there = self._served.versions.get(name, version)
                if version not in (there, refused.get(name)):
                    try:
                        await self._switched(name, version)
                    except SwitchRefusedError as error:
                        refused[name] = version
                        logger.error("this process does not follow the others: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _switched(self, name: str, version: str | None) -> Modality:
        async with self._turn:
            before = self._of(name)
            with refusing(f"{before.name} goes on with version {before.version}"):
                found = await in_one_heap(self._find, name, version)
                if found.version == before.version:
                    return before
                _require_alike(before, found)
                opened = await in_one_heap(self._open, found)
                _require_none([opened.golden.against])
                await self._load_expert(opened)
                _require_none(await opened.against_promise())
                if not await opened.warm_up_expert(WARM_UP_CALL_MS):
                    raise SwitchRefusedError(f"{opened.expert_tag} does not answer")
            self._served.put(opened)
            self._watch(opened, before)
            self._versions.serves(self._served.versions)
        self._later(_retire(before))
        return opened

    def _of(self, name: str) -> Modality:
        return next(each for each in self._served if each.name == name)

    async def _followed(self, name: str, version: str) -> list[str]:
        """The version in each process, once all have switched or FOLLOW_LIMIT_S have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_LIMIT_S):
                while {version} != set(self._versions.served(name)):
                    await asyncio.sleep(LOOK_EVERY_S)
        return self._versions.served(name)

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _retire(cascade: Modality) -> None:
    await asyncio.sleep(RETIRE_S)
    await cascade.close()
    del cascade  # no part of it that is large holds itself, but an error of a call may still hold what it went through
    collect()  # short: what was there when the service was ready is left out of collections
    await in_one_heap(give_back)


@contextmanager
def refusing(goes_on: str = "") -> Iterator[None]:
    """Turn what speaks against a version into a SwitchRefusedError, which begins with what `goes_on`."""
    begin = f"{goes_on}: " if goes_on else ""
    try:
        yield
    except SieveError as error:
        raise SwitchRefusedError(f"{begin}{error}") from None
    except Exception as error:  # whatever a runtime raises for a graph that it cannot read
        logger.exception("a version cannot be opened")
        raise SwitchRefusedError(f"{begin}{type(error).__name__}, see the log") from None


def _require_none(against: Sequence[str]) -> None:
    """Raise SwitchRefusedError if anything speaks against a version."""
    if said := "; ".join(filter(None, against)):
        raise SwitchRefusedError(said)


def _require_alike(before: Modality, found: StoredCascade) -> None:
    """Raise ArtifactError where requests or answers of a version are of another form than those of the one before."""
    screen = found.screen.artifact
    require_kind(screen, before.kind)
    ours = (before.pairs, before.cascade.screen_head.field)
    if ours != (takes_pairs(screen), head_of(screen.manifest).field):
        raise ArtifactError(
            f"version {found.version} must take and give what the version before does, got one that takes pairs of "
            "texts or gives label sets where the other does not; publish it under a name of its own"
        )
