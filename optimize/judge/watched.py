"""The recall of labels that a recipe watches, however few items they have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.data.splits import Split
from optimize.judge.quality import compare
from optimize.recipe import QualityGate
from serving.model.head import Decisions


def watched_recall(
    ours: Decisions, theirs: Decisions, split: Split, labels: tuple[str, ...], gate: QualityGate, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """The recall that each watched label loses against a reference, by label, and a sentence for each gate missed.

    `interval` is the paired bootstrap interval of `recall_drop`; with few items it is wide, and the gate decides by
    the drop alone.
    """
    found, failed = {}, []
    for label in gate.watch_labels:
        index = labels.index(label)
        has = _given(split.targets, index)
        ours_there, theirs_there = (_given(each, index)[has] for each in (ours, theirs))
        if not has.any():
            failed.append(f"has no item of the watched label {label!r} on the holdout; bring more rows of it")
            continue
        # Recall is the accuracy on the items of a label.
        paired = compare(ours_there, theirs_there, has[has], seed=seed)
        drop, (low, high) = paired["accuracy_drop"], paired["interval"]
        found[label] = {
            "items": int(has.sum()),
            "recall": float(ours_there.mean()),
            "recall_drop": drop,
            "interval": [low, high],
            "level": paired["level"],
        }
        assert gate.max_recall_drop is not None, "the recipe checks it"
        if not drop <= gate.max_recall_drop + 1e-9:
            failed.append(
                f"loses {drop:.2%} of recall of {label} on the holdout ({low:+.2%} to {high:+.2%} at "
                f"{paired['level']:.0%}, {int(has.sum())} items), at most {gate.max_recall_drop:.2%} is allowed"
            )
    return found, failed


def _given(decisions: Decisions, index: int) -> NDArray[np.bool_]:
    """Whether each item, [items], has the label in the place `index`, maybe among others."""
    return np.asarray(decisions == index if decisions.ndim == 1 else decisions[:, index], dtype=np.bool_)
