"""Has an expert's process serve another version of its model: what POST /admin/models/NAME does there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving.cascade.opening import Store, find_expert
from serving.cascade.switching import refusing
from serving.errors import ArtifactError
from serving.heap import in_one_heap
from serving.http.expert_models import ExpertModels, OpenedExpert, open_expert
from serving.http.guard import JsonObject
from serving.model.artifact import Artifact
from serving.settings import Settings


class ExpertSwitching:
    """Switches `models` to versions that the store has, opened as `settings` say."""

    def __init__(self, models: ExpertModels, store: Store, settings: Settings) -> None:
        self._models, self._store = models, store
        # Where a CUDA graph is recorded nothing else may use the GPU, and another expert runs there.
        self._settings = settings.model_copy(update={"gpu_graphs": False})
        self._turn = asyncio.Lock()

    async def switch(self, name: str, version: str | None) -> JsonObject:
        """Serve the version of NAME-expert, the newest for None, beside the one before while anybody asks for that.

        Raises SwitchRefusedError where it cannot be served. Then nothing changes.
        """
        async with self._turn:
            with refusing():
                entry = await in_one_heap(find_expert, self._store, name, version)
                artifact = await in_one_heap(Artifact.open, Path(entry.path))
                if not self._models.again(artifact.digest):
                    self._models.serve(await in_one_heap(self._opened, artifact, str(entry.tag)))
        return {"name": name, "model": str(entry.tag), "digest": artifact.digest}

    def _opened(self, artifact: Artifact, tag: str) -> OpenedExpert:
        opened = open_expert(artifact, tag, self._settings)
        if opened.golden.against:
            raise ArtifactError(opened.golden.against)
        return opened
