"""How many replicas a rate needs."""

from __future__ import annotations

import pytest

from loadtest.queueing.replicas import ceiling_per_s, predicted, replicas
from loadtest.queueing.simulation import Load
from tests.loadtest.tables import tables


def test_twice_the_rate_takes_about_twice_the_replicas() -> None:
    load = Load(rate_per_s=1, seconds=20)
    small, large = (replicas(tables(share=0.1), load, rate, 50.0) for rate in (2_000, 4_000))
    assert small["replicas"] * 1.6 < large["replicas"] <= small["replicas"] * 2
    assert large["each"]["p99_ms"] <= 50
    assert replicas(tables(api_ms=60.0), load, 10, 50.0)["replicas"] is None


def test_a_small_rate_is_simulated_for_longer() -> None:
    few = predicted(tables(), Load(rate_per_s=0.01, seconds=1))
    assert few["p99_ms"] == pytest.approx(2.0)


def test_the_ceiling_is_that_of_the_processes_or_of_the_cores() -> None:
    assert ceiling_per_s(tables(api_ms=2.0), Load(rate_per_s=1, workers=3)) == pytest.approx(1_500)
    shared = tables(api_ms=2.0, cores=2, generator_ms=2.0)
    assert ceiling_per_s(shared, Load(rate_per_s=1, workers=3)) == pytest.approx(500)
