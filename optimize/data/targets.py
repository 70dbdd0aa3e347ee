"""Targets, the right answers: label indices int64 [items], or label sets bool [items, labels]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.model.head import Decisions

LabelSet = tuple[str, ...]
"""The labels of one row; it may be empty."""


def targets_of(labels: Sequence[str] | Sequence[LabelSet], index: Mapping[str, int]) -> Decisions:
    """The targets of rows, by their labels; `index` gives the place of each label."""
    if not isinstance(next(iter(labels), ""), tuple):
        return np.fromiter((index[str(label)] for label in labels), np.int64, len(labels))
    targets = np.zeros((len(labels), len(index)), dtype=np.bool_)
    for row, names in enumerate(labels):
        targets[row, [index[name] for name in names]] = True
    return targets


def counts_of(decisions: Decisions, labels: int) -> NDArray[np.int64]:
    """How many items have each of so many `labels`, [labels]."""
    return np.bincount(decisions, minlength=labels) if decisions.ndim == 1 else decisions.sum(axis=0)


def strata_of(targets: Decisions, labels: int) -> NDArray[np.int64]:
    """For each item the label whose share a split must keep, [items]: its own, or the rarest of its label set.

    An empty set has the number `labels`. This is the idea of iterative stratification (Sechidis et al. 2011): what is
    rare is shared out first, as what is frequent then comes out even by itself.
    """
    if targets.ndim == 1:
        return np.asarray(targets, dtype=np.int64)
    counts = np.where(targets, counts_of(targets, labels), len(targets) + 1)
    return np.where(targets.any(axis=1), counts.argmin(axis=1), labels)
