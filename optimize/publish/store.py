"""Put screen, expert and operating point into the BentoML model store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer  # only it knows the store's folder

from optimize.errors import GateError
from optimize.judge.verify import EVIDENCE
from optimize.publish.entries import Entry, add_together
from optimize.results import digest_of
from serving.cascade.deferral import OperatingPoint
from serving.errors import ArtifactError
from serving.model.artifact import Artifact


def publish(expert: Path, screen: Path, point: Path, *, recipe_digest: str) -> list[str]:
    """Import the artifact folders of a pair and its operating point, all or none; return their tags.

    A folder is not imported again when the `latest` entry serves the same, even if it was measured again. Raises
    ArtifactError when a folder is damaged, the three do not belong together or the store cannot be written. Raises
    GateError when they come from another recipe than the one with `recipe_digest`, when evidence is missing, or when
    it says that a gate was missed. Then nothing is published.
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
    entries = [*(_artifact_entry(artifact) for artifact in artifacts), _point_entry(point, chosen, artifacts[1])]
    return add_together(entries, Path(BentoMLContainer.model_store_dir.get()))


def require_store() -> None:
    """Raise ArtifactError if the model store cannot be written, which nobody wants to learn at the end of a run."""
    try:
        models = Path(BentoMLContainer.model_store_dir.get())
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=models):
            pass
    except OSError as error:
        raise ArtifactError(
            f"the model store cannot be written ({error}); mend its permissions, or set BENTOML_HOME to a folder that "
            "this user can write"
        ) from None


def stored(tag: str) -> tuple[str, Path]:
    """The whole tag and the folder of a model in the store. Raises ArtifactError, which names the stored models."""
    try:
        model = bentoml.models.get(tag)
    except (bentoml.exceptions.BentoMLException, ValueError):  # not there, or not a tag at all
        names = sorted({str(model.tag.name) for model in bentoml.models.list()})
        raise ArtifactError(
            f"{tag} is neither an artifact folder nor in the model store, which has {', '.join(names) or 'nothing'}; "
            "publish it with `python -m optimize run RECIPE`"
        ) from None
    return str(model.tag), Path(model.path)


def _artifact_entry(artifact: Artifact) -> Entry:
    manifest = artifact.manifest

    def same(stored: Path) -> bool:
        return Artifact.open(stored).digest == artifact.digest

    labels = {
        "sieve-role": manifest.role,
        "sieve-recipe": str(manifest.provenance.get("recipe", manifest.name)),
        "digest": artifact.digest[:12],
        "data": manifest.data_is,
    }
    metadata = {
        "labels": list(manifest.labels),
        "variants": {name: variant.size_bytes for name, variant in manifest.variants.items()},
        "default_cpu": manifest.default_cpu,
        "quality": manifest.quality,
        "times": manifest.times,
    }
    return Entry(
        name=manifest.name,
        folder=artifact.folder,
        module=f"sieve.{manifest.role}",
        labels=labels,
        metadata=metadata,
        same=same,
    )


def _point_entry(folder: Path, point: OperatingPoint, screen: Artifact) -> Entry:
    def same(stored: Path) -> bool:
        return OperatingPoint.read(stored) == point

    labels = {
        "sieve-role": "operating-point",
        "sieve-recipe": str(screen.manifest.provenance.get("recipe", screen.manifest.name)),
        "certified": "yes" if point.promise.certified else "no",
    }
    metadata = {
        "promise": point.promise.statement,
        **({"label_promises": [each.statement for each in point.label_promises]} if point.label_promises else {}),
        "threshold": point.threshold,
        "escalation_share": point.escalation_share,
        "screen_digest": point.screen_digest,
        "expert_digest": point.expert_digest,
    }
    return Entry(
        name=folder.name, folder=folder, module="sieve.operating_point", labels=labels, metadata=metadata, same=same
    )


def _require_evidence(folder: Path, name: str, of: Mapping[str, str]) -> None:
    """Raise GateError unless there is evidence of the bytes with the digests `of`, and it says that every gate held."""
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
