"""Heads: what a model's logits say. One label (softmax), or every label that reaches its threshold (sigmoid).

All code that turns logits into answers, or asks whether two models answer alike, goes through a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from serving.arrays import Logits
from serving.model.answer import Answer, answers_from_logits, softmax
from serving.model.artifact import Manifest

Decisions = NDArray[np.int64] | NDArray[np.bool_]
"""What is answered: label indices int64 [items], or label sets bool [items, labels]."""


@dataclass(frozen=True)
class Softmax:
    """The answer is the label with the largest logit, and its confidence is its softmax share."""

    field: ClassVar[str] = "label"
    """What an answer of the API calls it."""

    def decide(self, logits: Logits) -> Decisions:
        """The label index of each row of `logits` [items, labels]."""
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)

    def confidences(self, logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
        """The largest softmax share of each row, [items]."""
        shares: NDArray[np.float64] = softmax(logits / np.float32(temperature)).max(axis=1)
        return shares

    def margins(self, logits: Logits) -> NDArray[np.float32]:
        """How far each row, [items], is from another answer: the largest logit less the second."""
        return np.asarray(np.diff(np.sort(logits, axis=1)[:, -2:], axis=1)[:, 0])

    # The function itself: a method around it would cost each request a call.
    answers = staticmethod(answers_from_logits)


@dataclass(frozen=True)
class Sigmoid:
    """The answer is the set of all labels whose logit reaches their threshold; it may be empty.

    The confidence of a set is that of its least sure label. A label's confidence is sigmoid(|logit - threshold| /
    temperature): with the odds of the label in units of the odds at its threshold, it is the probability of the side
    that was chosen. It is 0.5 at any threshold and 1 far from it, so labels with different thresholds compare.
    """

    field: ClassVar[str] = "labels"
    thresholds: tuple[float, ...]
    """A logit for each label. They do not depend on the temperature, which moves logits and thresholds alike."""

    @cached_property
    def _thresholds(self) -> NDArray[np.float32]:
        return np.array(self.thresholds, dtype=np.float32)

    def decide(self, logits: Logits) -> Decisions:
        """The label set of each row of `logits` [items, labels], bool [items, labels]."""
        return np.asarray(logits >= self._thresholds)

    def confidences(self, logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
        """The confidence of each row, [items]."""
        return sigmoid(self.margins(logits) / np.float32(temperature))

    def margins(self, logits: Logits) -> NDArray[np.float32]:
        """How far each row, [items], is from another answer: the smallest distance of a logit from its threshold."""
        return np.asarray(np.minimum.reduce(np.abs(logits - self._thresholds), axis=1))

    def answers(self, logits: Logits, labels: Sequence[str], temperature: float = 1.0) -> list[Answer]:
        """One Answer for each row of `logits` [items, labels]; its scores are sigmoid(logit / temperature)."""
        rows = zip(
            self.decide(logits).tolist(),
            self.confidences(logits, temperature).tolist(),
            sigmoid(logits / np.float32(temperature)).tolist(),
            strict=True,
        )
        return [
            Answer(
                label=tuple(label for label, given in zip(labels, chosen, strict=True) if given),
                confidence=confidence,
                margin=2 * confidence - 1,
                scores=tuple(scores),
            )
            for chosen, confidence, scores in rows
        ]

    def least_scores(self, labels: Sequence[str], temperature: float = 1.0) -> dict[str, float]:
        """For each label the score from which on it is given, where logits are divided by `temperature`."""
        return dict(zip(labels, sigmoid(self._thresholds / np.float32(temperature)).tolist(), strict=True))


Head = Softmax | Sigmoid
SOFTMAX = Softmax()


def head_of(manifest: Manifest) -> Head:
    """The head of an artifact."""
    return SOFTMAX if manifest.thresholds is None else Sigmoid(manifest.thresholds)


def differ(ours: Decisions, theirs: Decisions) -> NDArray[np.bool_]:
    """For each item whether the label, or the label set, is another, [items]."""
    unequal: NDArray[np.bool_] = np.asarray(ours != theirs)
    return unequal if unequal.ndim == 1 else np.asarray(unequal.any(axis=1))


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logits)) in float64; no value overflows."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))
