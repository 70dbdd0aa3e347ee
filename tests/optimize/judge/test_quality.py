from __future__ import annotations

import numpy as np
import pytest

from optimize.judge.quality import compare, confusion, quality
from optimize.judge.temperature import HIGHEST, LOWEST, calibration_error, fit_temperature, reliability

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


def logits_of_confidence(rng: np.random.Generator, n: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is right as often as it says, blown up by `scale`."""
    logits = rng.normal(size=(n, 4)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(4, p=row) for row in shares])
    return (logits * scale).astype(np.float32), targets


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_blew_the_logits_up(scale: float) -> None:
    logits, targets = logits_of_confidence(np.random.default_rng(1), 4000, scale)
    assert fit_temperature(logits, targets) == pytest.approx(scale, rel=0.1)
    assert calibration_error(logits, targets, scale) < 0.03
    if scale != 1.0:
        assert calibration_error(logits, targets) > 2 * calibration_error(logits, targets, scale)


def test_a_set_without_a_mistake_does_not_run_to_nought() -> None:
    logits = np.eye(3, dtype=np.float32)[np.arange(30) % 3] * 5
    assert LOWEST <= fit_temperature(logits, np.arange(30) % 3) < LOWEST * 1.1
    assert fit_temperature(logits, (np.arange(30) + 1) % 3) > HIGHEST * 0.9


def test_reliability_covers_every_item() -> None:
    logits, targets = logits_of_confidence(np.random.default_rng(2), 500, 1.0)
    rows = reliability(logits, targets)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(0 <= row["accuracy"] <= 1 and 0.25 <= row["confidence"] <= 1 for row in rows)
