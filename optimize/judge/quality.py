"""Second on the road, after `measure`: figures from logits and answers, with their uncertainty; decides nothing.

Comparisons are paired, because two models miss many of the same items. The bootstrap draws items (Efron 1979).
McNemar's exact test (1947) counts only the items that one model got right and the other wrong. An item with several
labels is right if its label set is exactly the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from optimize.models.decisions import score
from serving.arrays import Logits
from serving.model.head import SOFTMAX, Decisions, Head, differ

LEVEL = 0.95
RESAMPLES = 2000


def accuracy(logits: Logits, targets: Decisions, head: Head = SOFTMAX) -> float:
    """The share of the items that are answered right; for label sets micro F1."""
    return score(head.decide(logits), targets)


def largest_gap(logits: Logits, reference: Logits) -> float:
    """The largest difference of a logit; NaN when any logit is NaN."""
    return float(np.abs(logits - reference).max())


def gaps(logits: Logits, reference: Logits, head: Head = SOFTMAX) -> dict[str, float]:
    """How far logits [items, labels] lie from a reference's.

    `max_gap` and `mean_gap` are differences of a logit, `mean_gap_share` is the mean gap divided by the standard
    deviation of the reference, `agreement` is the share of items with the same label, or label set.
    """
    mean = float(np.abs(logits - reference).mean())
    return {
        "max_gap": largest_gap(logits, reference),
        "mean_gap": mean,
        "mean_gap_share": mean / max(float(reference.std()), 1e-12),
        "agreement": float((~differ(head.decide(logits), head.decide(reference))).mean()),
    }


def quality(answers: Decisions, targets: Decisions, labels: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, macro F1 and the recall of each label that occurs in `targets`, as shares.

    Of label sets `accuracy` is micro F1, as `optimize.judge.quality_name` calls it in files, and `exact_share` is the
    share of sets that are exactly right.
    """
    if targets.ndim == 2:
        return _quality_of_sets(answers, targets, labels)
    present = np.unique(targets).tolist()
    recalls = recall_score(targets, answers, labels=present, average=None, zero_division=0.0)
    return {
        "accuracy": float((answers == targets).mean()),
        "macro_f1": float(f1_score(targets, answers, labels=present, average="macro", zero_division=0.0)),
        "recall": {labels[index]: float(recall) for index, recall in zip(present, recalls, strict=True)},
    }


def compare(answers: Decisions, reference: Decisions, targets: Decisions, *, seed: int) -> dict[str, Any]:
    """Answers against a reference's on the same items: the accuracy lost, its interval and McNemar's test.

    `accuracy_drop` is the share lost, of label sets the micro F1 lost; it is negative when `answers` are better.
    `exact_share_drop` is that of sets that are exactly right. `interval` is the paired bootstrap interval of
    `accuracy_drop` (percentiles, 95 %).
    `only_reference` and `only_answers` count the items that only one of the two got right.
    """
    ours, theirs = ~differ(answers, targets), ~differ(reference, targets)
    lost = theirs.astype(np.float64) - ours.astype(np.float64)
    sets = targets.ndim == 2
    drop = score(reference, targets) - score(answers, targets) if sets else float(lost.mean())
    only_reference, only_answers = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    discordant = only_reference + only_answers
    return {
        "accuracy_drop": drop,
        **({"exact_share_drop": float(lost.mean())} if sets else {}),
        "interval": _interval_of_sets(answers, reference, targets, seed) if sets else _interval(lost, seed),
        "level": LEVEL,
        "only_reference": only_reference,
        "only_answers": only_answers,
        "mcnemar_p": float(binomtest(only_reference, discordant).pvalue) if discordant else 1.0,
        "agreement": float((~differ(answers, reference)).mean()),
    }


def by_label(answers: Decisions, targets: Decisions) -> dict[str, NDArray[np.float64]]:
    """For each label of sets, [labels]: how many `items` have it, and the `precision`, `recall` and `f1` of giving it.

    A figure is 0 where there is nothing to divide by.
    """
    hits, given, there = ((each.sum(axis=0)).astype(np.float64) for each in (answers & targets, answers, targets))
    return {
        "items": there,
        "precision": hits / np.maximum(given, 1),
        "recall": hits / np.maximum(there, 1),
        "f1": 2 * hits / np.maximum(given + there, 1),
    }


def confusion(answers: Decisions, targets: Decisions, count: int) -> list[list[int]]:
    """Counts [labels, labels]: rows are the right labels, columns the answers."""
    rows: list[list[int]] = confusion_matrix(targets, answers, labels=list(range(count))).tolist()
    return rows


def _quality_of_sets(answers: Decisions, targets: Decisions, labels: tuple[str, ...]) -> dict[str, Any]:
    figures = by_label(answers, targets)
    present = np.flatnonzero(figures["items"]).tolist()
    return {
        "accuracy": score(answers, targets),
        "exact_share": float((~differ(answers, targets)).mean()),
        "macro_f1": float(figures["f1"][present].mean()) if present else 1.0,
        "recall": {labels[index]: float(figures["recall"][index]) for index in present},
    }


def _interval_of_sets(answers: Decisions, reference: Decisions, targets: Decisions, seed: int) -> list[float]:
    """The paired bootstrap interval of the micro F1 lost; counts of items are drawn, and added up to an F1."""

    def lost(*counts: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        hits, given, their_hits, theirs = (count.sum(axis=axis) for count in counts)
        return np.asarray(2 * their_hits / np.maximum(theirs, 1) - 2 * hits / np.maximum(given, 1))

    if np.array_equal(answers, reference):
        return [0.0, 0.0]
    sides = [(each & targets, each.astype(int) + targets.astype(int)) for each in (answers, reference)]
    counts = [count.sum(axis=1).astype(np.float64) for side in sides for count in side]
    return _bootstrapped(counts, lost, seed)


def _interval(lost: NDArray[np.float64], seed: int) -> list[float]:
    if np.all(lost == lost[0]):
        return [float(lost[0])] * 2
    return _bootstrapped([lost], np.mean, seed)


def _bootstrapped(columns: Sequence[NDArray[np.float64]], statistic: Callable[..., Any], seed: int) -> list[float]:
    result = bootstrap(
        columns,
        statistic,
        paired=len(columns) > 1,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        batch=100,
        rng=np.random.default_rng(seed),
    )
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]
