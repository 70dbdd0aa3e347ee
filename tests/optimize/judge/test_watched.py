from __future__ import annotations

from typing import Any

import numpy as np

from optimize.data.splits import Split
from optimize.judge.gates import quality_evidence
from optimize.judge.watched import watched_recall
from optimize.recipe import QualityGate

LABELS = ("ham", "spam", "fraud")
TARGETS = np.repeat([0, 1], [90, 10])


def split(targets: Any = TARGETS) -> Split:
    return Split("holdout", list(range(len(targets))), targets, tuple("x" * len(targets)), frozenset())


def gate(*watched: str, **bounds: float) -> QualityGate:
    return QualityGate(watch_labels=watched, **{"max_accuracy_drop": None, "max_macro_f1_drop": None, **bounds})


def missed(count: int) -> Any:
    """Answers that take so many of the 10 spam for ham."""
    answers = TARGETS.copy()
    answers[90 : 90 + count] = 0
    return answers


def test_the_recall_of_a_watched_label_counts_however_few_items_it_has() -> None:
    unwatched = quality_evidence(missed(3), TARGETS, split(), LABELS, gate(), seed=1)
    assert (unwatched["failed"], unwatched["recall_not_held"]) == ([], ["spam", "fraud"])
    assert "watched" not in unwatched
    evidence = quality_evidence(missed(3), TARGETS, split(), LABELS, gate("spam"), seed=1)
    assert evidence["recall_not_held"] == ["fraud"]
    spam = evidence["watched"]["spam"]
    assert (spam["items"], spam["recall"], spam["recall_drop"], spam["level"]) == (10, 0.7, 0.3, 0.95)
    assert spam["interval"][0] <= 0.1 < 0.5 <= spam["interval"][1]
    (said,) = evidence["failed"]
    assert said.startswith("loses 30.00% of recall of spam on the holdout (+")
    assert said.endswith("at 95%, 10 items), at most 5.00% is allowed")


def test_a_drop_within_the_bound_holds() -> None:
    found, failed = watched_recall(missed(3), missed(2), split(), LABELS, gate("spam", max_recall_drop=0.1), 1)
    assert not failed
    assert found["spam"]["recall_drop"] == 0.1


def test_a_watched_label_without_an_item_fails() -> None:
    found, failed = watched_recall(TARGETS, TARGETS, split(), LABELS, gate("fraud"), 1)
    assert found == {}
    assert failed == ["has no item of the watched label 'fraud' on the holdout; bring more rows of it"]


def test_a_watched_label_of_sets_is_held_where_an_item_has_it_among_others() -> None:
    targets = np.array([[True, False, False]] * 90 + [[True, True, False]] * 10)
    answers = targets.copy()
    answers[90:93, 1] = False
    answers[:50, 0] = False  # another label
    found, failed = watched_recall(answers, targets, split(targets), LABELS, gate("spam", max_recall_drop=0.3), 1)
    assert not failed
    assert (found["spam"]["items"], found["spam"]["recall"], found["spam"]["recall_drop"]) == (10, 0.7, 0.3)
