"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599), which makes confidence match accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

from serving.arrays import Logits
from serving.model.answer import softmax
from serving.model.head import Decisions, sigmoid

BINS = 15
# Outside, every confidence is 1 or 1 / labels. A set without a mistake would drive the temperature to 0.
LOWEST, HIGHEST = 0.25, 10.0


def fit_temperature(logits: Logits, targets: Decisions) -> float:
    """The T within [0.25, 10] that minimises the negative log likelihood of the targets, given logits / T.

    `logits` [items, labels]. The likelihood of label indices [items] is that of softmax, the one of label sets
    [items, labels] is that of sigmoid, a mean over items and labels.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        if targets.ndim == 2:
            return float(-log_expit(np.where(targets, scaled, -scaled)).mean())
        return float(-log_softmax(scaled, axis=1)[np.arange(len(targets)), targets].mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def calibration_error(logits: Logits, targets: Decisions, temperature: float = 1.0) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over 15 equal bins, by their size."""
    return float(
        sum(
            row["share"] * abs(row["accuracy"] - row["confidence"]) for row in reliability(logits, targets, temperature)
        )
    )


def reliability(logits: Logits, targets: Decisions, temperature: float = 1.0) -> list[dict[str, Any]]:
    """Mean confidence, accuracy and share of the items for each of 15 equal bins of confidence that holds an item.

    Where targets are label sets, each label of an item counts by itself: its probability, or that of its absence.
    """
    scaled = logits / np.float32(temperature)
    confidence, right = _of_labels(scaled, targets) if targets.ndim == 2 else _of_shares(scaled, targets)
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


def _of_shares(logits: Logits, targets: Decisions) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    shares = softmax(logits)
    return shares.max(axis=1), shares.argmax(axis=1) == targets


def _of_labels(logits: Logits, targets: Decisions) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return sigmoid(np.abs(logits)).ravel(), ((logits >= 0) == targets).ravel()
