"""What screen and expert say of one split, and which of its items the cascade's rule defers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.arrays import Logits
from serving.cascade.deferral import OperatingPoint
from serving.model.head import SOFTMAX, Decisions, Head, differ

NEVER = -1.0
"""The confidence of an answer that no threshold trusts."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Logits [items, labels] of screen and expert on one split, its targets, and the heads that read the logits.

    `labels` are the names in their order, which an operating point with thresholds by label needs.
    """

    screen: Logits
    expert: Logits
    targets: Decisions
    screen_head: Head = SOFTMAX
    expert_head: Head = SOFTMAX
    labels: tuple[str, ...] = ()

    @property
    def decisions(self) -> tuple[Decisions, Decisions]:
        """What the screen and the expert answer."""
        return self.screen_head.decide(self.screen), self.expert_head.decide(self.expert)

    @property
    def differs(self) -> NDArray[np.bool_]:
        """Whether the screen's label, or its label set, is not the expert's, [items]."""
        return differ(*self.decisions)

    def confidences(self, temperature: float) -> NDArray[np.float64]:
        """The screen's, [items]."""
        return self.screen_head.confidences(self.screen, temperature)

    def above(self, confidence: NDArray[np.float64], floors: dict[str, float]) -> NDArray[np.float64]:
        """`confidence` [items], and NEVER for answers of the screen below the floor of their label."""
        ours = self.decisions[0]
        if not floors or ours.ndim > 1:
            return confidence
        least = np.array([floors.get(label, 0.0) for label in self.labels])
        return np.where(confidence < least[ours], NEVER, confidence)

    def deferred(self, point: OperatingPoint) -> NDArray[np.bool_]:
        """Whether each item escalates at an operating point, [items]."""
        confidence = self.confidences(point.screen_temperature)
        return np.asarray(self.above(confidence, point.label_thresholds) < point.threshold)
