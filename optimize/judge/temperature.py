"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): confidences that are right as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from serving.arrays import Logits
from serving.model.answer import softmax

Labels = NDArray[np.int64]

BINS = 15
# Beyond these a confidence is always 1 or always 1 / labels; a set without a single mistake would run to 0.
LOWEST, HIGHEST = 0.25, 10.0


def fit_temperature(logits: Logits, targets: Labels) -> float:
    """The T for which softmax(logits / T) has the least negative log likelihood; within [0.25, 10]."""

    def loss(log_temperature: float) -> float:
        shares = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        return float(-shares[np.arange(len(targets)), targets].mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def calibration_error(logits: Logits, targets: Labels, temperature: float = 1.0) -> float:
    """Expected calibration error: the gap between confidence and accuracy, over 15 equal bins, weighted by size."""
    return float(
        sum(
            row["share"] * abs(row["accuracy"] - row["confidence"]) for row in reliability(logits, targets, temperature)
        )
    )


def reliability(logits: Logits, targets: Labels, temperature: float = 1.0) -> list[dict[str, Any]]:
    """For each of 15 equal bins of confidence that holds an item: mean confidence, accuracy, and share of the items."""
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
