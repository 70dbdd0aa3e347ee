from __future__ import annotations

import numpy as np
import pytest

from optimize.judge.quality import by_label, compare, confusion, quality

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


SETS = np.array([[1, 0, 0]] * 40 + [[1, 1, 0]] * 30 + [[0, 0, 0]] * 10, dtype=bool)


def test_label_sets_have_a_micro_f1_and_the_share_that_is_exactly_right() -> None:
    answers = SETS.copy()
    answers[:10, 1] = True  # one label too many
    answers[40:45, 0] = False  # one too few
    got = quality(answers, SETS, ("a", "b", "c"))
    assert got["accuracy"] == pytest.approx(2 * 95 / (105 + 100))
    assert got["exact_share"] == pytest.approx(65 / 80)
    # F1 of a: 130 / 135, of b: 60 / 70; c never occurs.
    assert got["macro_f1"] == pytest.approx((130 / 135 + 60 / 70) / 2)
    assert got["recall"] == {"a": pytest.approx(65 / 70), "b": 1.0}
    assert by_label(answers, SETS)["precision"].tolist() == [1.0, 0.75, 0.0]


def test_the_comparison_of_label_sets_is_paired() -> None:
    answers, reference = SETS.copy(), SETS.copy()
    answers[:8, 1] = True
    reference[-2:, 2] = True
    got = compare(answers, reference, SETS, seed=1)
    ours, theirs = 2 * 100 / 208, 2 * 100 / 202
    assert got["accuracy_drop"] == pytest.approx(theirs - ours)
    assert got["exact_share_drop"] == pytest.approx(6 / 80)
    assert (got["only_reference"], got["only_answers"]) == (8, 2)
    assert got["agreement"] == pytest.approx(70 / 80)
    low, high = got["interval"]
    assert low < theirs - ours < high
    assert compare(SETS, SETS, SETS, seed=1)["interval"] == [0.0, 0.0]


def test_the_interval_of_an_f1_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of two models that miss and invent labels at known rates."""
    held, truth = 0, 2 * 0.45 / 1.0 - 2 * 0.4 / 0.95
    for seed in range(30):
        rng = np.random.default_rng(seed)
        targets = rng.random((300, 2)) < 0.5
        reference = np.where(targets, rng.random(targets.shape) < 0.9, rng.random(targets.shape) < 0.1)
        answers = np.where(targets, rng.random(targets.shape) < 0.8, rng.random(targets.shape) < 0.1)
        low, high = compare(answers, reference, targets, seed=seed)["interval"]
        held += low <= truth <= high
    assert held >= 25
