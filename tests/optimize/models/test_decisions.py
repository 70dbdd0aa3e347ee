"""Which head fits the targets, its thresholds, and how good decisions are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from sklearn.metrics import f1_score

from optimize.models.decisions import MIN_POSITIVES, best_constant, head_for, micro_f1, score
from serving.model.head import SOFTMAX, Sigmoid

SETS = arrays.arrays(np.bool_, (40, 3))


def thresholds(logits: Any, targets: Any) -> tuple[float, ...]:
    head = head_for(np.asarray(logits, dtype=np.float32), np.asarray(targets))
    assert isinstance(head, Sigmoid)
    return head.thresholds


def test_one_label_an_item_needs_no_threshold() -> None:
    targets = np.array([0, 1])
    assert head_for(np.zeros((2, 2), dtype=np.float32), targets) is SOFTMAX
    assert score(np.array([0, 0]), targets) == 0.5


def test_a_threshold_gives_its_label_the_best_f1_and_each_label_has_its_own() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((400, 2)) < (0.5, 0.1)
    logits = (2 * targets - 1 + rng.normal(size=(400, 2))).astype(np.float32) + np.array([3, -2], dtype=np.float32)
    found = thresholds(logits, targets)
    for label, threshold in enumerate(found):
        reached = f1_score(targets[:, label], logits[:, label] >= threshold)
        # Thresholds are rounded.
        others = [f1_score(targets[:, label], logits[:, label] >= other) for other in np.linspace(-3, 5, 33)]
        assert reached >= max(others) - 1e-9
    assert found[0] > 1 > -0.5 > found[1]


def test_a_threshold_lies_halfway_between_the_items_it_parts_and_at_an_even_chance_where_that_is_as_good() -> None:
    targets = np.repeat([False, True], 20)[:, None]
    assert thresholds(np.repeat([2.0, 4.0], 20)[:, None], targets) == (3.0,)
    assert thresholds(np.repeat([-1.0, 4.0], 20)[:, None], targets) == (0.0,)


@pytest.mark.parametrize("there", [0, MIN_POSITIVES - 1, MIN_POSITIVES, 100 - MIN_POSITIVES + 1, 100])
def test_a_few_items_do_not_move_a_threshold(there: int) -> None:
    targets = np.arange(100)[:, None] < there
    logits = np.where(targets, 4.0, 2.0)
    assert thresholds(logits, targets) == ((3.0,) if there == MIN_POSITIVES else (0.0,))


@settings(max_examples=25)
@given(SETS, SETS)
def test_micro_f1_is_that_of_scikit_learn(decisions: Any, targets: Any) -> None:
    assert micro_f1(decisions, targets) == pytest.approx(f1_score(targets, decisions, average="micro", zero_division=1))
    assert score(decisions, targets) == micro_f1(decisions, targets)


@settings(max_examples=25)
@given(SETS)
def test_no_constant_set_is_better_than_the_best_one(targets: Any) -> None:
    best = best_constant(targets, 3)
    every = [np.isin(np.arange(3), [i for i in range(3) if number >> i & 1]) for number in range(1, 8)]
    scores = [micro_f1(np.broadcast_to(answer, targets.shape), targets) for answer in every]
    assert best.score == pytest.approx(max(scores))
    answer = np.isin(np.arange(3), best.labels)
    assert micro_f1(np.broadcast_to(answer, targets.shape), targets) == pytest.approx(best.score)


def test_the_best_constant_of_one_label_an_item_is_the_most_frequent() -> None:
    assert best_constant(np.array([1, 1, 0, 2]), 3) == ([1], 0.5)
