"""Put artifact folders into the BentoML model store, with labels and metadata that read well in its listing."""

from __future__ import annotations

import shutil
from pathlib import Path

import bentoml

from serving.artifact import Artifact


def publish(folder: Path) -> str:
    """Import an artifact folder into the model store under its manifest's name; return the new tag.

    An artifact whose content is there already under `latest` is not stored twice. Raises ArtifactError when the
    folder is not a whole artifact.
    """
    artifact = Artifact.open(folder)
    manifest = artifact.manifest
    stored = _latest(manifest.name)
    if stored is not None and _same_files(Path(stored.path), folder):
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


def _same_files(stored: Path, folder: Path) -> bool:
    """Whether all that is served, and the operating point, is byte for byte what is stored."""
    ours = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return all((stored / name).is_file() and (stored / name).read_bytes() == data for name, data in ours.items())
