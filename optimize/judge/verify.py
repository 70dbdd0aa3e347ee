"""Evidence: every published variant, run as it is served, held against PyTorch (parity) and the teacher (quality).

Read from the artifact folders, through serving's own preprocessing and session; the numbers, the ids of the items and
the command lie beside the artifact afterwards, in evidence/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.data.inputs import decoded
from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.quality import compare, quality
from optimize.progress import progress
from optimize.recipe import Gates, QualityGate
from serving.model.artifact import Artifact, VariantName, write_json
from serving.model.preprocess import preprocessor
from serving.model.session import Session
from serving.model.text import TextEncoder

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]
EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What the variants of one role are held against, on the same items: logits [items, labels] of PyTorch models."""

    checkpoint: Logits
    """The checkpoint that the graphs were exported from."""
    teacher: Logits


def served_logits(artifact: Artifact, variant: VariantName, split: Split) -> Logits:
    """Logits of a variant on the raw texts or images of `split`, one item a call, as a lone request is served."""
    session, preprocess = Session(artifact, variant), preprocessor(artifact)
    rows = []
    with progress(f"{artifact.manifest.name} {variant}", total=len(split)) as advance:
        for content in split.inputs:
            if isinstance(preprocess, TextEncoder):
                inputs = preprocess.collate([preprocess.encode(content)])
            else:
                inputs = preprocess.collate([decoded(content, preprocess)])
            rows.append(session.run(inputs)[0])
            advance(1)
    logits = np.stack(rows)
    if not np.isfinite(logits).all():
        raise GateError(
            f"{artifact.manifest.name} {variant} says things that are no numbers on the {split.name} set; nothing is "
            "published. Look for an overflow (fp16) or a damaged graph"
        )
    return logits


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
    """Hold every variant against the references on `split` and leave the evidence beside the artifact.

    Returns the variants' logits, and a sentence for each gate that was not held.
    """
    known, failed = {}, []
    for variant, described in artifact.manifest.variants.items():
        logits = known[variant] = served_logits(artifact, variant, split)
        parity = _parity(logits, references.checkpoint, described.precision, gates)
        answers, teacher = logits.argmax(axis=1), references.teacher.argmax(axis=1)
        held = quality_evidence(answers, teacher, split, artifact.manifest.labels, gate, seed)
        misses = [*parity["failed"], *held["failed"]]
        failed += [f"{artifact.manifest.name} {variant}: {miss}" for miss in misses]
        of = {"artifact": artifact.digest, "variant_sha256": described.sha256}
        found = {"parity": parity, "quality": held, "passed": not misses}
        write_evidence(artifact.folder, variant, {"command": command, **of, **found}, split)
    return known, failed


def write_evidence(folder: Path, name: str, evidence: Mapping[str, Any], split: Split) -> None:
    """Leave evidence beside an artifact, with the items that it was gathered on."""
    (folder / EVIDENCE).mkdir(exist_ok=True)
    on = {
        "split": {"name": split.name, "digest": split.digest, "items": len(split)},
        "sample_ids": list(split.ids),
    }
    write_json(folder / EVIDENCE / f"{name}.json", {**evidence, **on})


def quality_evidence(
    ours: Labels, theirs: Labels, split: Split, labels: tuple[str, ...], gate: QualityGate, seed: int
) -> dict[str, Any]:
    """What answers are worth, alone and against a reference's on the same items, and which gates fail.

    `ours` and `theirs` are label indices [items].
    """
    got, wanted = quality(ours, split.targets, labels), quality(theirs, split.targets, labels)
    paired = compare(ours, theirs, split.targets, seed=seed)
    counts = dict(zip(labels, np.bincount(split.targets, minlength=len(labels)).tolist(), strict=True))
    recall_drops = {
        label: wanted["recall"][label] - recall
        for label, recall in got["recall"].items()
        if counts[label] >= gate.min_recall_items
    }
    failed = []
    for what, drop, allowed in (
        ("accuracy", paired["accuracy_drop"], gate.max_accuracy_drop),
        ("macro F1", wanted["macro_f1"] - got["macro_f1"], gate.max_macro_f1_drop),
        *((f"recall of {label}", drop, gate.max_recall_drop) for label, drop in recall_drops.items()),
    ):
        if allowed is not None and not drop <= allowed + 1e-9:
            failed.append(f"loses {drop:.2%} of {what} on the holdout, at most {allowed:.2%} is allowed")
    return {
        "answers": got,
        "reference": wanted,
        "paired": paired,
        "gate": gate.model_dump(),
        "recall_not_held": [label for label in labels if label not in recall_drops],
        "failed": failed,
    }


def _parity(logits: Logits, checkpoint: Logits, precision: str, gates: Gates) -> dict[str, Any]:
    """The output `logits` against PyTorch's: the largest gap in float32, the mean gap in parts of the spread below."""
    gaps = np.abs(logits - checkpoint)
    figures: dict[str, Any] = {
        "output": "logits",
        "max_gap": float(gaps.max()),
        "mean_gap": float(gaps.mean()),
        "mean_gap_share": float(gaps.mean() / max(float(checkpoint.std()), 1e-12)),
        "agreement": float((logits.argmax(axis=1) == checkpoint.argmax(axis=1)).mean()),
    }
    if precision == "fp32":
        figure, allowed, says = figures["max_gap"], gates.max_logit_gap, "a logit differs from PyTorch's by"
    else:
        figure, allowed = figures["mean_gap_share"], gates.max_logit_gap_share
        says = "logits differ from PyTorch's, in parts of their spread, by"
    # Written so that a figure which is no number fails.
    failed = [] if figure <= allowed else [f"{says} {figure:.3g}, at most {allowed:.3g} is allowed"]
    if precision != "fp32" and not figures["agreement"] >= gates.min_agreement:
        failed.append(
            f"gives PyTorch's label to {figures['agreement']:.2%} of the items, at least {gates.min_agreement:.2%} "
            "is asked"
        )
    return {**figures, "tolerance": allowed, "failed": failed}


def require(failed: Sequence[str]) -> None:
    """Raise GateError, with every gate that was not held, unless all were."""
    if failed:
        raise GateError("nothing is published: " + "; ".join(failed))
