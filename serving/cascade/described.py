"""What /models says of the models of a cascade, and of what its operating point promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact
from serving.model.head import Softmax, head_of


def described_point(tag: str, point: OperatingPoint, against: Sequence[str]) -> dict[str, Any]:
    """An operating point, each promise with its sentence. `against`: why they do not apply to what runs."""
    described = point.model_dump(exclude={"reference", "certified_thresholds"})
    described["promise"] = {"statement": point.promise.statement, **described["promise"]}
    if point.label_promises:
        described["label_promises"] = [
            {"statement": promise.statement, **promise.model_dump()} for promise in point.label_promises
        ]
    return {"tag": tag, "applies": not against, "why_not": against, **described}


def described_model(tag: str, artifact: Artifact, runs: Mapping[str, str], temperature: float) -> dict[str, Any]:
    """A screen or an expert, and what `runs` of it."""
    manifest = artifact.manifest
    head = head_of(manifest)
    least = {} if isinstance(head, Softmax) else {"least_scores": head.least_scores(manifest.labels, temperature)}
    return {
        "tag": tag,
        "digest": artifact.digest,
        "labels": manifest.labels,
        **least,
        "quality": manifest.quality,
        "data": manifest.data_is,
        "execution_provider": {name: value for name, value in runs.items() if name != "against"},
    }
