"""Has an expert's process serve another version of its model: what POST /admin/models/NAME does there."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from serving.cascade.opening import Store, find_expert
from serving.errors import ArtifactError, SieveError, SwitchRefusedError
from serving.http.expert_models import ExpertModels, OpenedExpert, open_expert
from serving.http.guard import JsonObject
from serving.model.artifact import Artifact

logger = logging.getLogger("sieve")


class ExpertSwitching:
    """Switches `models` to versions that the store has, opened with so many `threads`."""

    def __init__(self, models: ExpertModels, store: Store, threads: int) -> None:
        self._models, self._store, self._threads = models, store, threads
        self._turn = asyncio.Lock()

    async def switch(self, name: str, version: str | None) -> JsonObject:
        """Serve the version of NAME-expert, the newest for None, beside the one before while anybody asks for that.

        Raises SwitchRefusedError where it cannot be served. Then nothing changes.
        """
        async with self._turn:
            try:
                entry = await asyncio.to_thread(find_expert, self._store, name, version)
                artifact = await asyncio.to_thread(Artifact.open, Path(entry.path))
                if not self._models.again(artifact.digest):
                    self._models.serve(await asyncio.to_thread(self._opened, artifact, str(entry.tag)))
            except SieveError as error:
                raise SwitchRefusedError(str(error)) from None
            except Exception as error:  # whatever a runtime raises for a graph that it cannot read
                logger.exception("a version cannot be opened")
                raise SwitchRefusedError(f"{type(error).__name__}, see the log") from None
        return {"name": name, "model": str(entry.tag), "digest": artifact.digest}

    def _opened(self, artifact: Artifact, tag: str) -> OpenedExpert:
        opened = open_expert(artifact, tag, self._threads)
        if opened.golden.against:
            raise ArtifactError(opened.golden.against)
        return opened
