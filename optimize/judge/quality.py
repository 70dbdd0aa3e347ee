"""How good answers are, and how sure that is: accuracy, F1, recall, and the paired comparison with a reference.

Paired, because two models that are asked the same items miss many of the same ones: the bootstrap draws items, not
answers (Efron 1979), and McNemar's exact test (1947) looks only at the items that one got right and the other wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import confusion_matrix, f1_score, recall_score

Labels = NDArray[np.int64]

LEVEL = 0.95
RESAMPLES = 2000


def quality(answers: Labels, targets: Labels, labels: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, macro F1 and the recall of each label that occurs, as shares."""
    present = np.unique(targets).tolist()
    recalls = recall_score(targets, answers, labels=present, average=None, zero_division=0.0)
    return {
        "accuracy": float((answers == targets).mean()),
        "macro_f1": float(f1_score(targets, answers, labels=present, average="macro", zero_division=0.0)),
        "recall": {labels[index]: float(recall) for index, recall in zip(present, recalls, strict=True)},
    }


def compare(answers: Labels, reference: Labels, targets: Labels, *, seed: int) -> dict[str, Any]:
    """`answers` against `reference` on the same items: the accuracy lost, its interval, and McNemar's test.

    `accuracy_drop` is the share lost (negative where `answers` are better); `interval` is its paired bootstrap interval
    (percentiles, 95 %); `only_reference` and `only_answers` count the items that only one of the two got right.
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
    """Row: what is right; column: what was answered; both in the order of the labels."""
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
