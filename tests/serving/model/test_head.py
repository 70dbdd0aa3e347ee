"""Heads: what is answered, how sure it is, and when two answers differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.model.head import SOFTMAX, Sigmoid, differ, sigmoid

HEAD = Sigmoid((0.0, -2.0, 3.0))
LABELS = ("fee", "fraud", "refund")

rows = st.lists(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3), min_size=1, max_size=4)
temperatures = st.floats(0.25, 10)


def logits(*rows: Any) -> Any:
    return np.array(rows, dtype=np.float32)


def test_a_label_set_has_every_label_that_reaches_its_own_threshold_and_may_be_empty() -> None:
    answers = HEAD.answers(logits([1.0, -1.0, 2.0], [-1.0, -3.0, 0.0], [0.0, -2.0, 3.0]), LABELS)
    assert [answer.label for answer in answers] == [("fee", "fraud"), (), LABELS]
    assert answers[0].scores == pytest.approx((0.7311, 0.2689, 0.8808), abs=1e-4)


def test_a_set_is_as_sure_as_its_least_sure_label_which_may_be_one_that_is_left_out() -> None:
    (far, near) = HEAD.confidences(logits([5.0, 3.0, -2.0], [5.0, -2.1, -2.0]))
    assert far == pytest.approx(1 / (1 + np.exp(-5)))
    assert near == pytest.approx(1 / (1 + np.exp(-0.1)), abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_labels_confidence_is_the_chosen_side_by_odds_in_units_of_those_at_the_threshold(p: float, t: float) -> None:
    def logit(share: float) -> float:
        return float(np.log(share / (1 - share)))

    head = Sigmoid((logit(t), -50.0))
    odds = (p / (1 - p)) / (t / (1 - t))
    (confidence,) = head.confidences(logits([logit(p), 50.0]))
    assert confidence == pytest.approx(max(odds, 1 / odds) / (1 + max(odds, 1 / odds)), abs=1e-4)


@given(rows, temperatures)
def test_answers_decisions_and_confidences_are_the_same_ones(given_rows: Any, temperature: float) -> None:
    given_logits = logits(*given_rows)
    answers = HEAD.answers(given_logits, LABELS, temperature)
    sets, confidences = HEAD.decide(given_logits).tolist(), HEAD.confidences(given_logits, temperature).tolist()
    least = HEAD.least_scores(LABELS, temperature)
    for answer, chosen, confidence in zip(answers, sets, confidences, strict=True):
        assert answer.label == tuple(label for label, is_in in zip(LABELS, chosen, strict=True) if is_in)
        assert answer.confidence == confidence
        assert 0.5 <= confidence <= 1
        assert answer.margin == pytest.approx(2 * confidence - 1)
        for label, is_in, score in zip(LABELS, chosen, answer.scores, strict=True):
            assert score >= least[label] if is_in else score <= least[label]


@example([[0.0, 0.0, 2.220446049250313e-16]], 2.0)
@given(rows, temperatures)
def test_one_labels_answers_decisions_and_confidences_are_the_same_ones(given_rows: Any, temperature: float) -> None:
    given_logits = logits(*given_rows)
    answers = SOFTMAX.answers(given_logits, LABELS, temperature)
    assert [answer.confidence for answer in answers] == SOFTMAX.confidences(given_logits, temperature).tolist()
    assert [answer.label for answer in answers] == [LABELS[i] for i in SOFTMAX.decide(given_logits).tolist()]


def test_what_is_no_number_has_no_confidence() -> None:
    (answer,) = HEAD.answers(logits([1.0, np.nan, 1.0]), LABELS)
    assert np.isnan(answer.confidence)


def test_margins_are_distances_to_another_answer() -> None:
    assert HEAD.margins(logits([1.0, -2.5, 9.0])).tolist() == [0.5]
    assert SOFTMAX.margins(logits([1.0, -2.5, 9.0])).tolist() == [8.0]


def test_label_sets_differ_when_one_label_does() -> None:
    ours = np.array([[True, False], [True, True]])
    assert differ(ours, np.array([[True, False], [True, False]])).tolist() == [False, True]
    assert differ(np.array([1, 2]), np.array([1, 0])).tolist() == [False, True]


def test_a_sigmoid_stays_finite_far_out() -> None:
    assert sigmoid(logits([-1e4, 0.0, 1e4])).tolist() == [[0.0, 0.5, 1.0]]
