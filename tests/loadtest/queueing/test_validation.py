"""Prediction against measurement: which rows hold."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.measuring.known import Known
from loadtest.queueing import validation
from loadtest.queueing.replicas import predicted
from loadtest.queueing.simulation import Load
from loadtest.queueing.tables import Measured
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import Sample
from loadtest.verdict.objective import Objective
from tests.loadtest.replies import reply
from tests.loadtest.tables import tables

LOAD = Load(rate_per_s=1, seconds=5)
KNOWN = Known([Sample("/", b"", "", "short, easy")], [reply(3.0)])


class Scripted:
    """A subject whose p99 is the prediction times a factor."""

    factor, valid = 1.0, True

    def __init__(self, plan: Plan, objective: Objective, known: Known, idle: list[object]) -> None:
        self.rates: list[float] = []

    def attempt(self, rate: float, seed: int, seconds: float) -> dict[str, Any]:
        from dataclasses import replace

        ms = {"ms": self.factor * predicted(tables(), replace(LOAD, rate_per_s=rate))["p99_ms"]}
        return {"valid": self.valid, "figures": {"asked_ms": {"p50": ms, "p99": ms}}}


@pytest.mark.parametrize(
    ("factor", "valid", "holds"),
    [(1.0, True, True), (1.2, True, True), (1.5, True, False), (0.5, True, False), (1.0, False, False)],
    ids=["exact", "within tolerance", "too optimistic", "too pessimistic", "a late generator"],
)
def test_a_prediction_holds_within_its_tolerance(
    factor: float, valid: bool, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "Subject", Scripted)
    monkeypatch.setattr(Scripted, "factor", factor)
    monkeypatch.setattr(Scripted, "valid", valid)
    rows = validation.check(Measured(Plan(url=""), KNOWN, tables()), LOAD, seconds=1, rounds=3)
    assert [row["rate_per_s"] for row in rows] == [200.0, 325.0], "0.4 and 0.65 of 500 a second"
    assert [row["holds"] for row in rows] == [holds, holds]
    assert [len(row["rounds_ms"]) for row in rows] == [3, 3]
    assert rows[0]["off_share"] == pytest.approx(1 / factor - 1, abs=1e-3)
