from __future__ import annotations

import numpy as np
import pytest

from optimize.judge.temperature import HIGHEST, LOWEST, calibration_error, fit_temperature, reliability


def logits_of_confidence(rng: np.random.Generator, n: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is right as often as it says, blown up by `scale`."""
    logits = rng.normal(size=(n, 4)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(4, p=row) for row in shares])
    return (logits * scale).astype(np.float32), targets


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_blew_the_logits_up(scale: float) -> None:
    logits, targets = logits_of_confidence(np.random.default_rng(1), 4000, scale)
    assert fit_temperature(logits, targets) == pytest.approx(scale, rel=0.1)
    assert calibration_error(logits, targets, scale) < 0.03
    if scale != 1.0:
        assert calibration_error(logits, targets) > 2 * calibration_error(logits, targets, scale)


def test_a_set_without_a_mistake_does_not_run_to_nought() -> None:
    logits = np.eye(3, dtype=np.float32)[np.arange(30) % 3] * 5
    assert LOWEST <= fit_temperature(logits, np.arange(30) % 3) < LOWEST * 1.1
    assert fit_temperature(logits, (np.arange(30) + 1) % 3) > HIGHEST * 0.9


def test_reliability_covers_every_item() -> None:
    logits, targets = logits_of_confidence(np.random.default_rng(2), 500, 1.0)
    rows = reliability(logits, targets)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(0 <= row["accuracy"] <= 1 and 0.25 <= row["confidence"] <= 1 for row in rows)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_of_label_sets_is_that_of_their_probabilities(scale: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 3)) * 1.5
    targets = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    blown_up = (logits * scale).astype(np.float32)
    assert fit_temperature(blown_up, targets) == pytest.approx(scale, rel=0.1)
    assert calibration_error(blown_up, targets, scale) < 0.03
    rows = reliability(blown_up, targets)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(0.5 <= row["confidence"] <= 1 for row in rows)
