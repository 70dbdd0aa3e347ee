"""Second on the road, after `measure`: figures from logits and answers, with their uncertainty; decides nothing.

Comparisons are paired, because two models miss many of the same items. The bootstrap draws items (Efron 1979).
McNemar's exact test (1947) counts only the items that one model got right and the other wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from serving.arrays import Logits

Labels = NDArray[np.int64]
"""Label indices [items]."""

LEVEL = 0.95
RESAMPLES = 2000


def accuracy(logits: Logits, targets: Labels) -> float:
    """Share of the rows whose largest logit is the target's."""
    return float((logits.argmax(axis=1) == targets).mean())


def largest_gap(logits: Logits, reference: Logits) -> float:
    """The largest difference of a logit; NaN when any logit is NaN."""
    return float(np.abs(logits - reference).max())


def gaps(logits: Logits, reference: Logits) -> dict[str, float]:
    """How far logits [items, labels] lie from a reference's.

    `max_gap` and `mean_gap` are differences of a logit, `mean_gap_share` is the mean gap divided by the standard
    deviation of the reference, `agreement` is the share of items with the same label.
    """
    mean = float(np.abs(logits - reference).mean())
    return {
        "max_gap": largest_gap(logits, reference),
        "mean_gap": mean,
        "mean_gap_share": mean / max(float(reference.std()), 1e-12),
        "agreement": float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
    }


def quality(answers: Labels, targets: Labels, labels: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, macro F1 and the recall of each label that occurs in `targets`, as shares."""
    present = np.unique(targets).tolist()
    recalls = recall_score(targets, answers, labels=present, average=None, zero_division=0.0)
    return {
        "accuracy": float((answers == targets).mean()),
        "macro_f1": float(f1_score(targets, answers, labels=present, average="macro", zero_division=0.0)),
        "recall": {labels[index]: float(recall) for index, recall in zip(present, recalls, strict=True)},
    }


def compare(answers: Labels, reference: Labels, targets: Labels, *, seed: int) -> dict[str, Any]:
    """Answers against a reference's on the same items: the accuracy lost, its interval and McNemar's test.

    `accuracy_drop` is the share lost, negative when `answers` are better. `interval` is its paired bootstrap interval
    (percentiles, 95 %). `only_reference` and `only_answers` count the items that only one of the two got right.
    """
    ours, theirs = answers == targets, reference == targets
    lost = theirs.astype(np.float64) - ours.astype(np.float64)
    only_reference, only_answers = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    discordant = only_reference + only_answers
    return {
        "accuracy_drop": float(lost.mean()),
        "interval": _interval(lost, seed),
        "level": LEVEL,
        "only_reference": only_reference,
        "only_answers": only_answers,
        "mcnemar_p": float(binomtest(only_reference, discordant).pvalue) if discordant else 1.0,
        "agreement": float((answers == reference).mean()),
    }


def confusion(answers: Labels, targets: Labels, count: int) -> list[list[int]]:
    """Counts [labels, labels]: rows are the right labels, columns the answers."""
    rows: list[list[int]] = confusion_matrix(targets, answers, labels=list(range(count))).tolist()
    return rows


def _interval(lost: NDArray[np.float64], seed: int) -> list[float]:
    if np.all(lost == lost[0]):
        return [float(lost[0])] * 2
    rng = np.random.default_rng(seed)
    result = bootstrap(
        (lost,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", batch=100, rng=rng
    )
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]
