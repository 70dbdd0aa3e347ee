"""A cascade of a model store, as the benchmarks use it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import bentoml

from benchmarks.homes import ROLES, latest
from loadtest.baselines.model import Baseline
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact, ImageSettings


class Published:
    """The latest version of a cascade: its artifacts and its operating point.

    `store`: a folder of models; BentoML's own store without it.
    """

    def __init__(self, cascade: str, store: Path | None = None) -> None:
        self.store = store or Path(bentoml.models.get(f"{cascade}-screen:latest").path).parent.parent
        folders = {role: latest(self.store, f"{cascade}-{role}") for role in ROLES}
        self.name = cascade
        self.screen, self.expert = (Artifact.open(folders[role]) for role in ("screen", "expert"))
        self.point = OperatingPoint.read(folders["operating-point"])
        self.kind = self.expert.manifest.settings.kind

    def baseline(self, artifact: Artifact, runtime: Literal["torch", "onnx"], model: Path) -> Baseline:
        """The same model for `loadtest.baselines`; `model`: its graph, checkpoint or exported program."""
        settings, labels = artifact.manifest.settings, artifact.manifest.labels
        if isinstance(settings, ImageSettings):
            return {
                "kind": "image",
                "runtime": runtime,
                "model": str(model),
                "labels": labels,
                "mode": settings.mode,
                "width": settings.width,
                "height": settings.height,
                "mean": settings.mean,
                "std": settings.std,
                "resample": settings.resample,
                "resize_short_side": settings.resize_short_side,
            }
        return {
            "kind": "text",
            "runtime": runtime,
            "model": str(model),
            "labels": labels,
            "tokenizer": str(artifact.folder / settings.tokenizer),
            "max_tokens": settings.max_tokens,
        }
