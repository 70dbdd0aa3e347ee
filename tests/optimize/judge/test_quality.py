from __future__ import annotations

import numpy as np
import pytest

from optimize.judge.quality import compare, confusion, quality

TARGETS = np.array([0] * 50 + [1] * 30 + [2] * 20)


def test_accuracy_f1_and_recall() -> None:
    answers = TARGETS.copy()
    answers[:10] = 1
    got = quality(answers, TARGETS, ("a", "b", "c"))
    assert got["accuracy"] == 0.9
    assert got["recall"] == {"a": 0.8, "b": 1.0, "c": 1.0}
    # F1 of a: 80 / 90, of b: 60 / 70, of c: 1.
    assert got["macro_f1"] == pytest.approx((80 / 90 + 60 / 70 + 1) / 3)


def test_a_label_that_does_not_occur_has_no_recall() -> None:
    assert set(quality(np.zeros(5, int), np.zeros(5, int), ("a", "b"))["recall"]) == {"a"}


def test_the_comparison_is_paired() -> None:
    reference = TARGETS.copy()
    answers = TARGETS.copy()
    answers[:8] = 1
    reference[90:92] = 0
    got = compare(answers, reference, TARGETS, seed=1)
    assert got["accuracy_drop"] == pytest.approx(0.06)
    assert (got["only_reference"], got["only_answers"]) == (8, 2)
    assert got["mcnemar_p"] == pytest.approx(2 * 56 / 1024)  # both tails of ten fair coins: 1 + 10 + 45 of 1024
    assert got["agreement"] == 0.9
    low, high = got["interval"]
    assert low < 0.06 < high
    assert got == compare(answers, reference, TARGETS, seed=1), "seeded"


def test_equal_answers_lose_nothing_for_sure() -> None:
    got = compare(TARGETS, TARGETS, TARGETS, seed=1)
    assert (got["accuracy_drop"], got["interval"], got["mcnemar_p"]) == (0.0, [0.0, 0.0], 1.0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        targets = np.zeros(300, int)
        answers = (rng.random(300) < 0.10).astype(int)
        reference = (rng.random(300) < 0.06).astype(int)
        low, high = compare(answers, reference, targets, seed=seed)["interval"]
        held += low <= 0.04 <= high
    assert held >= 180


def test_confusion_counts_every_item() -> None:
    answers = TARGETS.copy()
    answers[0] = 2
    assert confusion(answers, TARGETS, 4) == [[49, 0, 1, 0], [0, 30, 0, 0], [0, 0, 20, 0], [0, 0, 0, 0]]
