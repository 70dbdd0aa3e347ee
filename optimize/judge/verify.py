"""Last on the road, after `gates`: runs every published variant on the holdout and writes the evidence beside it.

Variants are read from the artifact folders and run as the service runs them, alone and in company. The figures, the
ids of the items and the command go into the folder evidence/ of the artifact. Every graph is also checked for what
saturates on other CPUs, and INT8 graphs are held against exact integer arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from optimize.data.splits import Split
from optimize.judge.company import in_company
from optimize.judge.gates import parity, quality_evidence
from optimize.judge.integers import exact_logits
from optimize.judge.measure import ServedItems, served_logits
from optimize.judge.saturation import saturation, signed_factors
from optimize.recipe import Gates, QualityGate
from serving.arrays import Logits
from serving.cpu import has_vnni
from serving.model.artifact import Artifact, VariantName, write_json
from serving.model.head import Decisions, head_of
from serving.model.runner import Runner
from serving.model.session import Session

EVIDENCE = "evidence"
EXACT_ITEMS = 8
"""How many items exact integer arithmetic computes; a text takes about a second with MiniLM."""
MAX_EXACT_GAP_SHARE = 0.05
"""The mean gap to exact integers that rounding may make, as a share of the logits' standard deviation.

Measured with VNNI: 0.0001 for a tiny BERT, 0.006 for a tiny ResNet, 0.02 for a ResNet-56. With weights of the whole
range and without VNNI: 0.08, 0.04 and 0.10.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What checkpoints say of the items that the variants of a stage are verified on."""

    checkpoint: Logits
    """Logits [items, labels] of the checkpoint that the graphs were exported from."""
    computed_in: str = "PyTorch"
    """What computed the checkpoint's logits."""
    teacher: Decisions


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
    head = head_of(artifact.manifest)
    failed: list[str] = []
    for variant, described in artifact.manifest.variants.items():
        logits = known[variant] = served_logits(artifact, variant, split)
        held = {
            "arithmetic": arithmetic(artifact, variant, split, logits),
            "company": company(artifact, variant, split, logits, seed),
            "parity": parity(logits, references.checkpoint, described.precision, gates, head, references.computed_in),
            "quality": quality_evidence(
                head.decide(logits),
                references.teacher,
                split,
                artifact.manifest.labels,
                gate,
                seed,
            ),
        }
        misses = [miss for part in held.values() for miss in part["failed"]]
        failed += [f"{artifact.manifest.name} {variant}: {miss}" for miss in misses]
        of = {"artifact": artifact.digest, "variant_sha256": described.sha256}
        evidence = {"command": command, **of, **held, "passed": not misses}
        write_evidence(artifact.folder, variant, evidence, split)
    return known, failed


def company(artifact: Artifact, variant: VariantName, split: Split, logits: Logits, seed: int) -> dict[str, Any]:
    """What `in_company` finds for a variant as it is served; `logits` are those of the items of `split`, each alone."""
    items = ServedItems(artifact, split)
    runner = Runner(Session(artifact, variant), items.preprocess)
    described, head = artifact.manifest.variants[variant], head_of(artifact.manifest)
    return {"alone": described.alone, **in_company(runner.run, items, logits, described.precision, seed, head)}


def arithmetic(artifact: Artifact, variant: VariantName, split: Split, logits: Logits) -> dict[str, Any]:
    """Whether a variant computes the same on every CPU, and a sentence for each gate missed.

    Checks the graph, and compares an INT8 graph's first `logits`, those served for `split`, with exact integer
    arithmetic.
    """
    model = onnx.load(artifact.variant_path(variant))
    saturates = saturation(model)
    found: dict[str, Any] = {"vnni": has_vnni(), "signed_products": len(signed_factors(model))}
    failed = [] if saturates is None else [saturates]
    if artifact.manifest.variants[variant].precision == "int8":
        items = ServedItems(artifact, split)
        first, preprocess = itertools.islice(items, EXACT_ITEMS), items.preprocess
        exact = np.concatenate(
            [preprocess.merged(exact_logits(model, preprocess.collate([item])), [item]) for item in first]
        )
        gap = float(np.abs(logits[: len(exact)] - exact).mean() / max(float(exact.std()), 1e-12))
        found |= {"exact_items": len(exact), "exact_gap_share": gap}
        # Written so that NaN fails.
        if not gap <= MAX_EXACT_GAP_SHARE:
            failed.append(
                f"logits differ from exact integer arithmetic on this CPU, in parts of their spread, by {gap:.3g}, at "
                f"most {MAX_EXACT_GAP_SHARE} is allowed; leave the quantize step out"
            )
    return {**found, "failed": failed}


def write_evidence(folder: Path, name: str, evidence: Mapping[str, Any], split: Split) -> None:
    """Write evidence/NAME.json into an artifact folder, with the split and the ids of its items."""
    (folder / EVIDENCE).mkdir(exist_ok=True)
    on = {
        "split": {"name": split.name, "digest": split.digest, "items": len(split)},
        "sample_ids": list(split.ids),
    }
    write_json(folder / EVIDENCE / f"{name}.json", {**evidence, **on})
