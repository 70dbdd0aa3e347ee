from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimize.operating_point import cascade_labels, choose
from optimize.recipe import OperatingPointRecipe
from serving.answer import answers_from_logits
from serving.deferral import OperatingPoint, should_defer


def chosen(screen: Any, expert: Any, targets: Any, **config: float) -> OperatingPoint:
    return choose(screen, expert, targets, OperatingPointRecipe(**config), screen_digest="s", expert_digest="e")


def sample(seed: int, size: int, labels: int = 3) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, labels, size)
    truth = np.eye(labels)[targets]
    # Rounded, so that confidences tie.
    screen = np.round(truth * 1.0 + rng.normal(size=(size, labels)), 1).astype(np.float32)
    expert = np.round(truth * 2.5 + rng.normal(size=(size, labels)), 1).astype(np.float32)
    return screen, expert, targets


@given(st.integers(0, 10_000), st.integers(4, 60), st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from([0.0, 0.05, 1.0]))
def test_it_is_the_fewest_escalations_that_hold(seed: int, size: int, drop: float, disagreement: float) -> None:
    screen, expert, targets = sample(seed, size)
    point = chosen(screen, expert, targets, max_accuracy_drop=drop, max_disagreement=disagreement)
    expert_labels = expert.argmax(axis=1)

    def holds(threshold: float) -> tuple[bool, float]:
        labels, deferred = cascade_labels(screen, expert, threshold)
        lost = (expert_labels == targets).mean() - (labels == targets).mean()
        return lost <= drop + 1e-9 and (labels != expert_labels).mean() <= disagreement + 1e-9, deferred.mean()

    fine, share = holds(point.threshold)
    assert fine
    assert share == point.escalation_share
    confidences = sorted({float(answer.confidence) for answer in answers_from_logits(screen, ["a", "b", "c"])})
    others = [0.0, 2.0, *((a + b) / 2 for a, b in itertools.pairwise(confidences))]
    assert share <= min(other for fine, other in map(holds, others) if fine) + 1e-12


@given(st.integers(0, 10_000))
def test_the_service_defers_what_was_counted(seed: int) -> None:
    screen, expert, targets = sample(seed, 40)
    point = chosen(screen, expert, targets)
    served = [should_defer(answer, point) for answer in answers_from_logits(screen, ["a", "b", "c"])]
    assert served == cascade_labels(screen, expert, point.threshold)[1].tolist()


def test_a_screen_that_always_agrees_escalates_nothing_and_one_that_never_does_everything() -> None:
    screen, expert, targets = sample(1, 50)
    assert chosen(expert, expert, targets).escalation_share == 0.0
    never = chosen(np.roll(expert, 1, axis=1), expert, expert.argmax(axis=1), max_disagreement=0.0)
    assert never.escalation_share == 1.0
    assert never.agreement_share == 1.0
    assert screen.shape == expert.shape
