"""Put screen, expert and operating point into the BentoML model store, with labels that read well in its listing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bentoml

from optimize.errors import GateError
from optimize.judge.verify import EVIDENCE
from optimize.recipe import digest_of
from serving.cascade.deferral import OperatingPoint
from serving.errors import ArtifactError
from serving.model.artifact import Artifact


def publish(expert: Path, screen: Path, point: Path, *, recipe_digest: str) -> list[str]:
    """Import three artifact folders that belong together and come from the recipe of that digest; return their tags.

    An entry whose `latest` serves the same stays, whatever was measured of it meanwhile. Raises ArtifactError when a
    folder is not whole or they do not belong together, and GateError when evidence is missing or says that a gate was
    not held; then nothing is published.
    """
    artifacts = [Artifact.open(folder) for folder in (expert, screen)]
    chosen = OperatingPoint.read(point)
    chosen.require_pair(artifacts[1].digest, artifacts[0].digest)
    for artifact in artifacts:
        if artifact.manifest.provenance.get("recipe_digest") != recipe_digest:
            raise GateError(
                f"nothing is published: {artifact.folder} was made by another version of the recipe; make it anew with "
                "`python -m optimize evaluate RECIPE`"
            )
        for name, variant in artifact.manifest.variants.items():
            _require_evidence(artifact.folder, name, {"artifact": artifact.digest, "variant_sha256": variant.sha256})
    _require_evidence(point, "cascade", {"operating_point": digest_of(chosen.model_dump(mode="json"))})
    tags = [_publish_artifact(artifact) for artifact in artifacts]
    return [*tags, _publish_point(point, chosen, artifacts[1])]


def stored(tag: str) -> tuple[str, Path]:
    """The whole tag and the folder of a model in the store; ArtifactError names those that are there."""
    try:
        model = bentoml.models.get(tag)
    except bentoml.exceptions.BentoMLException:  # not there, or not a tag at all
        names = sorted({str(model.tag.name) for model in bentoml.models.list()})
        raise ArtifactError(
            f"{tag} is neither an artifact folder nor in the model store, which has {', '.join(names) or 'nothing'}; "
            "publish it with `python -m optimize run RECIPE`"
        ) from None
    return str(model.tag), Path(model.path)


def _publish_artifact(artifact: Artifact) -> str:
    manifest = artifact.manifest

    def same(stored: Path) -> bool:
        return Artifact.open(stored).digest == artifact.digest

    labels = {
        "sieve-role": manifest.role,
        "sieve-recipe": str(manifest.provenance.get("recipe", manifest.name)),
        "digest": artifact.digest[:12],
        "data": "synthetic" if manifest.synthetic else "real",
    }
    metadata = {
        "labels": list(manifest.labels),
        "variants": {name: variant.size_bytes for name, variant in manifest.variants.items()},
        "default_cpu": manifest.default_cpu,
        "quality": manifest.quality,
        "times": manifest.times,
    }
    return _store(manifest.name, artifact.folder, f"sieve.{manifest.role}", labels, metadata, same)


def _publish_point(folder: Path, point: OperatingPoint, screen: Artifact) -> str:
    def same(stored: Path) -> bool:
        return OperatingPoint.read(stored) == point

    labels = {
        "sieve-role": "operating-point",
        "sieve-recipe": str(screen.manifest.provenance.get("recipe", screen.manifest.name)),
        "certified": "yes" if point.promise.certified else "no",
    }
    metadata = {
        "promise": point.promise.statement,
        "threshold": point.threshold,
        "escalation_share": point.escalation_share,
        "screen_digest": point.screen_digest,
        "expert_digest": point.expert_digest,
    }
    return _store(folder.name, folder, "sieve.operating_point", labels, metadata, same)


def _store(
    name: str, folder: Path, module: str, labels: Mapping[str, str], metadata: Mapping[str, Any], same: Any
) -> str:
    """Import `folder` as a new version of `name`, unless `same` says that its latest one will do."""
    try:
        latest = bentoml.models.get(f"{name}:latest")
        if same(Path(latest.path)):
            return str(latest.tag)
    except (bentoml.exceptions.NotFound, ArtifactError):
        pass  # there is none, or it is damaged or of an older version
    with bentoml.models.create(name, module=module, labels=dict(labels), metadata=dict(metadata)) as model:
        shutil.copytree(folder, model.path, dirs_exist_ok=True)
    return str(model.tag)


def _require_evidence(folder: Path, name: str, of: Mapping[str, str]) -> None:
    """Evidence must be there, of the very bytes whose digests `of` gives, and say that every gate was held."""
    path = folder / EVIDENCE / f"{name}.json"
    evidence = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if any(evidence.get(key) != value for key, value in of.items()):
        found = "is of something else" if evidence else "is not there"
        raise GateError(
            f"nothing is published: the evidence of {folder.name} for {name} {found}; make it with "
            "`python -m optimize verify RECIPE`"
        )
    if not evidence["passed"]:
        raise GateError(f"nothing is published: {path} says that a gate was not held; mend the recipe or the gate")
