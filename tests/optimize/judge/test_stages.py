"""What the cascade's rule defers, with one threshold for all answers and with others for some labels."""

from __future__ import annotations

import numpy as np

from optimize.judge.stages import NEVER, Stages
from serving.cascade.deferral import should_defer
from serving.model.answer import answers_from_logits
from serving.model.head import Sigmoid
from tests.points import make_point

LABELS = ("a", "b", "c")


def drawn(seed: int = 0, size: int = 400) -> Stages:
    rng = np.random.default_rng(seed)
    screen, expert = (rng.normal(scale=2, size=(size, 3)).astype(np.float32) for _ in range(2))
    return Stages(screen, expert, expert.argmax(axis=1), labels=LABELS)


def test_what_is_counted_as_deferred_is_what_the_service_defers() -> None:
    stages = drawn()
    answers = answers_from_logits(stages.screen, LABELS)
    for floors in ({}, {"b": 0.95}, {"a": 0.9, "c": 2.0}):
        point = make_point(threshold=0.6, label_thresholds=floors)
        deferred = stages.deferred(point).tolist()
        assert deferred == [should_defer(answer, point) for answer in answers]
        assert 0 < sum(deferred) < len(deferred)
    assert stages.deferred(make_point(threshold=0.0, label_thresholds={"b": 2.0})).tolist() == [
        answer.label == "b" for answer in answers
    ]


def test_a_floor_leaves_the_confidences_above_it_as_they_are() -> None:
    stages = drawn()
    confidence, ours = stages.confidences(1.0), stages.decisions[0]
    above = stages.above(confidence, {"b": 0.7})
    low = (ours == 1) & (confidence < 0.7)
    assert low.any()
    assert (above[low] == NEVER).all()
    assert (above[~low] == confidence[~low]).all()


def test_label_sets_have_one_threshold() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20, 3)).astype(np.float32)
    stages = Stages(logits, logits, logits > 0, Sigmoid((0.0,) * 3), Sigmoid((0.0,) * 3), LABELS)
    confidence = stages.confidences(1.0)
    assert (stages.above(confidence, {"b": 2.0}) == confidence).all()
