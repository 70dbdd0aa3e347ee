"""Logits to answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model.answer import answers_from_logits, softmax

logits = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=6)


@given(logits)
def test_an_answer_is_the_largest_share(row: list[float]) -> None:
    labels = [f"label{i}" for i in range(len(row))]
    (answer,) = answers_from_logits(np.array([row], dtype=np.float32), labels)
    assert sum(answer.scores) == pytest.approx(1.0)
    assert answer.confidence == max(answer.scores)
    assert answer.scores[labels.index(answer.label)] == answer.confidence
    assert 0 <= answer.margin <= answer.confidence


def test_softmax_stays_finite_far_out() -> None:
    shares = softmax(np.array([[1e4, -1e4]], dtype=np.float32))
    assert shares.tolist() == [[1.0, 0.0]]


def test_a_temperature_softens_and_keeps_the_label() -> None:
    logits = np.array([[2.0, 0.0, -1.0]], dtype=np.float32)
    (plain,), (soft,) = (answers_from_logits(logits, ["a", "b", "c"], t) for t in (1.0, 3.0))
    assert plain.label == soft.label == "a"
    assert soft.confidence < plain.confidence
