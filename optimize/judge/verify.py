"""Last on the road, after `gates`: runs every published variant on the holdout and writes the evidence beside it.

Variants are read from the artifact folders and run through serving's own preprocessing and session. The figures, the
ids of the items and the command go into the folder evidence/ of the artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimize.data.splits import Split
from optimize.judge.gates import parity, quality_evidence
from optimize.judge.measure import served_logits
from optimize.recipe import Gates, QualityGate
from serving.arrays import Logits
from serving.model.artifact import Artifact, VariantName, write_json

EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Logits [items, labels] of PyTorch models on the items that the variants of a stage are verified on."""

    checkpoint: Logits
    """The checkpoint that the graphs were exported from."""
    teacher: Logits


def verify(
    artifact: Artifact,
    split: Split,
    references: References,
    *,
    gates: Gates,
    gate: QualityGate,
    seed: int,
    command: str,
) -> tuple[dict[VariantName, Logits], list[str]]:
    """Run every variant on `split`, hold it against the references and write its evidence.

    Returns the variants' logits [items, labels], and a sentence for each gate missed.
    """
    known: dict[VariantName, Logits] = {}
    failed: list[str] = []
    for variant, described in artifact.manifest.variants.items():
        logits = known[variant] = served_logits(artifact, variant, split)
        held = {
            "parity": parity(logits, references.checkpoint, described.precision, gates),
            "quality": quality_evidence(
                logits.argmax(axis=1),
                references.teacher.argmax(axis=1),
                split,
                artifact.manifest.labels,
                gate,
                seed,
            ),
        }
        misses = [*held["parity"]["failed"], *held["quality"]["failed"]]
        failed += [f"{artifact.manifest.name} {variant}: {miss}" for miss in misses]
        of = {"artifact": artifact.digest, "variant_sha256": described.sha256}
        evidence = {"command": command, **of, **held, "passed": not misses}
        write_evidence(artifact.folder, variant, evidence, split)
    return known, failed


def write_evidence(folder: Path, name: str, evidence: Mapping[str, Any], split: Split) -> None:
    """Write evidence/NAME.json into an artifact folder, with the split and the ids of its items."""
    (folder / EVIDENCE).mkdir(exist_ok=True)
    on = {
        "split": {"name": split.name, "digest": split.digest, "items": len(split)},
        "sample_ids": list(split.ids),
    }
    write_json(folder / EVIDENCE / f"{name}.json", {**evidence, **on})
