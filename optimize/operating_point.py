"""Choose the deferral threshold on the selection set: the fewest escalations that keep the cascade as good as asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optimize.recipe import OperatingPointRecipe
from serving.answer import softmax
from serving.deferral import OperatingPoint

Logits = NDArray[np.float32]


def choose(
    screen: Logits,
    expert: Logits,
    targets: NDArray[np.int64],
    config: OperatingPointRecipe,
    *,
    screen_digest: str,
    expert_digest: str,
) -> OperatingPoint:
    """Logits [items, labels] of both stages on the selection set -> the operating point for this pair.

    Among all thresholds that the screen's confidences allow, the lowest escalation share is taken at which the
    cascade's accuracy is at most `max_accuracy_drop` below the expert's and its answers differ from the expert's on at
    most `max_disagreement` of the items. Deferring everything always qualifies.
    """
    confidence = softmax(screen).max(axis=1)
    order = np.argsort(confidence, kind="stable")
    screen_label, expert_label = screen.argmax(axis=1)[order], expert.argmax(axis=1)[order]
    targets = targets[order]
    # Entry k of each array is what holds when the k least confident items defer.
    losses = (expert_label == targets).astype(np.int64) - (screen_label == targets).astype(np.int64)
    size = len(targets)
    drop = _sum_from(losses) / size
    disagreement = _sum_from((screen_label != expert_label).astype(np.int64)) / size
    holds = (drop <= config.max_accuracy_drop) & (disagreement <= config.max_disagreement)
    ordered = confidence[order]
    # Items of equal confidence can only defer together.
    holds[1:size] &= ordered[1:] > ordered[:-1]
    deferred = int(np.flatnonzero(holds)[0])
    return OperatingPoint(
        threshold=_between(ordered, deferred),
        screen_digest=screen_digest,
        expert_digest=expert_digest,
        selection_size=size,
        escalation_share=deferred / size,
        agreement_share=1.0 - float(disagreement[deferred]),
    )


def cascade_labels(screen: Logits, expert: Logits, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Label index and escalation flag of each item, as the cascade answers with no deadline missed."""
    deferred = softmax(screen).max(axis=1) < threshold
    return np.where(deferred, expert.argmax(axis=1), screen.argmax(axis=1)), deferred


def _sum_from(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n] -> [n + 1]: entry k is the sum of values[k:]."""
    return np.append(np.cumsum(values[::-1])[::-1], 0)


def _between(ordered: NDArray[np.float64], deferred: int) -> float:
    """A threshold that `deferred` of the ordered confidences lie below: midway, so that rounding cannot move it."""
    if deferred == 0:
        return 0.0
    if deferred == len(ordered):
        return 1.0 + 1e-6
    return float((ordered[deferred - 1] + ordered[deferred]) / 2)
