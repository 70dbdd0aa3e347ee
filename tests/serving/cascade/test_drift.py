"""Drift: silent while requests look as they did on the selection set, loud when they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cascade.drift import TELL_EVERY, Drift, DriftMonitor, stability_index
from tests.points import make_point

# Four bins with a quarter of the items each; below 0.8 the screen defers.
USUAL = np.array([0.7, 0.85, 0.92, 0.99])


def watched(confidences: np.ndarray, tell: object = None) -> Drift:
    monitor = DriftMonitor(make_point(), tell)  # type: ignore[arg-type]
    for confidence in confidences:
        monitor.observe(float(confidence), bool(confidence < 0.8))
    return monitor.state()


def test_the_same_traffic_has_not_drifted() -> None:
    rng = np.random.default_rng(0)
    drift = watched(rng.permutation(np.tile(USUAL, 50)))
    assert drift.drifted is False
    assert drift.psi < 0.01
    assert drift.escalation_share == 0.25


def test_too_few_items_give_no_verdict() -> None:
    assert watched(np.full(99, 0.5)).drifted is None
    assert watched(np.full(100, 0.5)).drifted is True


def test_less_confidence_is_noticed_by_index_and_escalation_share() -> None:
    drift = watched(np.tile([0.7, 0.7, 0.7, 0.85], 50))
    assert drift.drifted is True
    assert "confidences have shifted" in drift.reasons[0]
    assert "75.0% of the items escalate, 20.0% to 30.0% expected" in drift.reasons[1]


def test_a_shift_that_escalates_as_before_is_noticed_too() -> None:
    drift = watched(np.tile([0.7, 0.99, 0.99, 0.99], 50))
    assert drift.drifted is True
    assert len(drift.reasons) == 1
    assert drift.escalation_share == 0.25


def test_old_items_are_forgotten() -> None:
    drift = watched(np.concatenate([np.full(500, 0.5), np.tile(USUAL, 50)]))
    assert drift.n == 200
    assert drift.drifted is False


def test_the_state_is_told_after_every_fifty_items() -> None:
    told: list[Drift] = []
    watched(np.tile(USUAL, 50), told.append)
    assert [drift.n for drift in told] == list(range(0, 201, TELL_EVERY))


@given(st.lists(st.integers(0, 500), min_size=2, max_size=12))
def test_the_index_is_zero_for_the_same_shares_and_positive_for_others(counts: list[int]) -> None:
    n = sum(counts)
    if n:
        assert stability_index([count / n for count in counts], counts) == pytest.approx(0, abs=1e-12)
    assert stability_index([1 / len(counts)] * len(counts), counts) >= 0


def test_the_index_follows_its_definition() -> None:
    got = stability_index([0.5, 0.5], [600_000, 400_000])
    assert got == pytest.approx((0.6 - 0.5) * np.log(0.6 / 0.5) + (0.4 - 0.5) * np.log(0.4 / 0.5), rel=1e-4)
