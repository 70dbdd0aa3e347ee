"""Opens a whole cascade, as the service does: screen, expert, and the operating point that was chosen for both."""

from __future__ import annotations

from pathlib import Path

import bentoml

from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import StoredCascade, StoredModel, StoredPoint
from serving.errors import ArtifactError
from serving.model.artifact import Artifact

ROLES = ("screen", "expert", "operating-point")


def open_cascade(name: str) -> StoredCascade:
    """The latest version of a cascade of the model store. Raises ArtifactError if it is missing or damaged."""
    try:
        models = [bentoml.models.get(f"{name}-{role}:latest") for role in ROLES]
    except (bentoml.exceptions.BentoMLException, ValueError):  # not there, or not a name at all
        screens = {str(model.tag.name) for model in bentoml.models.list() if str(model.tag.name).endswith("-screen")}
        there = ", ".join(sorted(screen.removesuffix("-screen") for screen in screens))
        raise ArtifactError(
            f"{name} is no cascade of the model store, which has {there or 'none'}; make it with "
            "`python -m optimize run RECIPE`"
        ) from None
    return cascade_of([Path(model.path) for model in models], [str(model.tag) for model in models])


def cascade_of(folders: list[Path], tags: list[str]) -> StoredCascade:
    """A cascade from folders and tags in the order of ROLES. Raises ArtifactError if they do not belong together."""
    screen, expert = (
        StoredModel(Artifact.open(folder), tag) for folder, tag in zip(folders[:2], tags[:2], strict=True)
    )
    return StoredCascade(screen=screen, expert=expert, point=StoredPoint(OperatingPoint.read(folders[2]), tags[2]))
