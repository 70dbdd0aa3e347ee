"""The simulation against queueing theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.queueing.simulation import Load, simulate
from tests.loadtest.tables import tables


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_one_process_with_equal_requests_queues_as_theory_says(busy: float) -> None:
    load = Load(rate_per_s=busy * 500, seconds=400)
    found = simulate(tables(), load)
    # Pollaczek and Khinchine for M/D/1: the mean wait is busy * service / (2 (1 - busy)).
    assert np.mean(found.latency_ms) == pytest.approx(2.0 + busy * 2.0 / (2 * (1 - busy)), rel=0.06)
    assert len(found.latency_ms) == pytest.approx(load.rate_per_s * load.seconds, rel=0.03)
    assert not found.degraded.any()


def test_a_lone_escalation_takes_its_parts() -> None:
    found = simulate(tables(share=1.0, network_ms=0.5), Load(rate_per_s=0.5, seconds=100))
    assert np.median(found.latency_ms) == pytest.approx(0.5 + 2 + 5 + 1)
    assert found.escalated.all()
    rested = simulate(tables(wake_ms=0.25, generator_ms=0.2), Load(rate_per_s=0.5, seconds=100))
    assert np.median(rested.latency_ms) == pytest.approx(2 + 0.25 + 0.2)


def test_an_escalation_waits_for_several_turns_of_a_busy_process() -> None:
    found = simulate(tables(share=0.02, batch_ms={1: 5.0}), Load(rate_per_s=350, budget_ms=1000, seconds=200))
    waited = np.median(found.latency_ms[~found.escalated]) - 2
    assert waited > 0
    assert np.median(found.latency_ms[found.escalated]) - (2 + 5 + 1) > 2 * waited


def test_batches_form_under_load_and_what_comes_too_late_is_degraded() -> None:
    quick = tables(api_ms=0.1, share=1.0, hop_ms=0.0)
    light = simulate(quick, Load(rate_per_s=100, budget_ms=1000, seconds=60))
    heavy = simulate(quick, Load(rate_per_s=390, budget_ms=1000, seconds=60))
    # One after the other, 5 ms each, would allow 200 a second; 32 in 80 ms allow 400.
    assert np.median(heavy.latency_ms) < 1000
    assert np.median(heavy.latency_ms) > np.median(light.latency_ms)
    late = simulate(quick, Load(rate_per_s=390, budget_ms=20, seconds=60))
    assert late.degraded.mean() > 0.5
    assert late.latency_ms.max() < 25, "a batch that had begun is not waited for"


def test_cores_that_are_shared_make_requests_wait_but_not_for_whole_batches() -> None:
    load = Load(rate_per_s=100, budget_ms=1000, seconds=100)
    slow = tables(api_ms=0.5, expert_ms=60.0, share=0.05, hop_ms=0.0)
    many, one = (simulate(replace(slow, cores=cores), load) for cores in (8, 1))
    screened = [found.latency_ms[~found.escalated] for found in (many, one)]
    assert np.quantile(screened[1], 0.9) > np.quantile(screened[0], 0.9) + 1
    assert np.quantile(screened[1], 0.9) < 10, "the kernel shares a core in slices"


def test_answers_that_never_come_are_infinitely_late() -> None:
    flooded = simulate(tables(api_ms=10.0), Load(rate_per_s=300, budget_ms=50, seconds=10))
    assert np.isinf(flooded.latency_ms).mean() > 0.5
    assert len(flooded.latency_ms) == pytest.approx(3_000, rel=0.1)
