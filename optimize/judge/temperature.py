"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599), which makes confidence match accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from optimize.judge.quality import Labels
from serving.arrays import Logits
from serving.model.answer import softmax

BINS = 15
# Outside, every confidence is 1 or 1 / labels. A set without a mistake would drive the temperature to 0.
LOWEST, HIGHEST = 0.25, 10.0


def fit_temperature(logits: Logits, targets: Labels) -> float:
    """The T within [0.25, 10] that minimises the negative log likelihood of softmax(logits / T).

    `logits` [items, labels], `targets` label indices [items].
    """

    def loss(log_temperature: float) -> float:
        shares = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        return float(-shares[np.arange(len(targets)), targets].mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def calibration_error(logits: Logits, targets: Labels, temperature: float = 1.0) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over 15 equal bins, by their size."""
    return float(
        sum(
            row["share"] * abs(row["accuracy"] - row["confidence"]) for row in reliability(logits, targets, temperature)
        )
    )


def reliability(logits: Logits, targets: Labels, temperature: float = 1.0) -> list[dict[str, Any]]:
    """Mean confidence, accuracy and share of the items for each of 15 equal bins of confidence that holds an item."""
    shares = softmax(logits / np.float32(temperature))
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == targets
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for place in range(BINS):
        inside = places == place
        if inside.any():
            rows.append(
                {
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(right[inside].mean()),
                    "share": float(inside.mean()),
                }
            )
    return rows
