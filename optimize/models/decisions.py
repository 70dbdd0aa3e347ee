"""Which head fits the targets, the thresholds of a multi-label head, and how good its decisions are.

Targets of one label an item are label indices [items], those of several are label sets bool [items, labels]. The
threshold of a label maximises its F1 on the selection set, which every other choice is made on, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimize.data.targets import counts_of
from serving.arrays import Logits
from serving.model.head import SOFTMAX, Decisions, Head, Sigmoid

MIN_POSITIVES = 10
"""With fewer items that have a label, or that lack it, its threshold stays at a probability of 0.5: one item would
decide."""


def score(decisions: Decisions, targets: Decisions) -> float:
    """The share of items with the right label; for label sets micro F1."""
    return float((decisions == targets).mean()) if targets.ndim == 1 else micro_f1(decisions, targets)


def micro_f1(decisions: Decisions, targets: Decisions) -> float:
    """F1 over all labels of all items; 1 where nobody gives a label."""
    given = int(decisions.sum()) + int(targets.sum())
    return 2 * int((decisions & targets).sum()) / given if given else 1.0


class Constant(NamedTuple):
    """One answer for all items: the places of its `labels`, and its `score`."""

    labels: list[int]
    score: float


def best_constant(targets: Decisions, labels: int) -> Constant:
    """The most frequent of so many `labels`; of label sets as many of the most frequent as give the best score."""
    counts = counts_of(targets, labels)
    order = np.argsort(-counts, kind="stable")
    if targets.ndim == 1:
        return Constant(order[:1].tolist(), int(counts[order[0]]) / len(targets))
    f1 = 2 * np.cumsum(counts[order]) / (len(targets) * np.arange(1, labels + 1) + max(int(counts.sum()), 1))
    best = int(f1.argmax())
    return Constant(order[: best + 1].tolist(), float(f1[best]))


def head_for(logits: Logits, targets: Decisions) -> Head:
    """The head for `logits` [items, labels] of the selection set, with thresholds where targets are label sets."""
    if targets.ndim == 1:
        return SOFTMAX
    columns = zip(logits.T.astype(np.float64), targets.T.astype(np.bool_), strict=True)
    return Sigmoid(tuple(_threshold(values, right) for values, right in columns))


def _threshold(logits: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The logit from which on a label is given: of those with the best F1 on these items, the nearest to 0.

    Candidates lie halfway between neighbouring logits, and at 0, a probability of 0.5.
    """
    positives = int(targets.sum())
    if min(positives, len(targets) - positives) < MIN_POSITIVES:
        return 0.0
    steps = np.unique(logits)
    candidates = np.append((steps[1:] + steps[:-1]) / 2, 0.0)
    order = np.argsort(logits)
    given = len(logits) - np.searchsorted(logits[order], candidates)
    hit_from = np.append(np.cumsum(targets[order][::-1])[::-1], 0)  # hits among the items from each place on
    f1 = 2 * hit_from[len(logits) - given] / (given + positives)
    best = candidates[f1 == f1.max()]
    return round(float(best[np.abs(best).argmin()]), 4)
