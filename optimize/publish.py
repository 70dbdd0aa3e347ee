"""Put artifact folders into the BentoML model store, with labels and metadata that read well in its listing."""

from __future__ import annotations

import shutil
from pathlib import Path

import bentoml

from serving.artifact import OPERATING_POINT, Artifact
from serving.errors import ArtifactError


def publish(folder: Path) -> str:
    """Import an artifact folder into the model store under its manifest's name; return the new tag.

    When `latest` has the same digest and the same operating point it stays, whatever was measured of it meanwhile.
    Raises ArtifactError when the folder is not a whole artifact.
    """
    artifact = Artifact.open(folder)
    manifest = artifact.manifest
    stored = _latest(manifest.name)
    if stored is not None and _serves_the_same(Path(stored.path), artifact):
        return str(stored.tag)
    labels = {
        "sieve-role": manifest.role,
        "sieve-recipe": str(manifest.provenance.get("recipe", manifest.name)),
        "digest": artifact.digest[:12],
    }
    metadata = {
        "labels": list(manifest.labels),
        "variants": {name: variant.size_bytes for name, variant in manifest.variants.items()},
        "default_cpu": manifest.default_cpu,
        "quality": manifest.quality,
        "times": manifest.times,
    }
    module = f"sieve.{manifest.role}"
    with bentoml.models.create(manifest.name, module=module, labels=labels, metadata=metadata) as model:
        shutil.copytree(folder, model.path, dirs_exist_ok=True)
    return str(model.tag)


def _latest(name: str) -> bentoml.Model | None:
    try:
        return bentoml.models.get(f"{name}:latest")
    except bentoml.exceptions.NotFound:
        return None


def _serves_the_same(stored: Path, artifact: Artifact) -> bool:
    points = [folder / OPERATING_POINT for folder in (stored, artifact.folder)]
    contents = [path.read_bytes() if path.exists() else None for path in points]
    try:
        return contents[0] == contents[1] and Artifact.open(stored).digest == artifact.digest
    except ArtifactError:
        return False  # damaged, or of an older version
