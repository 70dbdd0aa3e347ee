"""The simulation against queueing theory, and the question how many replicas against a real service."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.__main__ import EXIT_PASSED, EXIT_WRONG, main
from loadtest.capacity import predicted, replicas
from loadtest.queueing.simulation import Item, Load, Tables, simulate
from tests.server import Server


def tables(api_ms: float = 2.0, expert_ms: float = 5.0, share: float = 0.0, **changes: object) -> Tables:
    items = [Item(api_ms, expert_ms if place < 100 * share else None) for place in range(100)]
    plain = {
        "items": items,
        "network_ms": 0.0,
        "batch_ms": {1: 5.0, 32: 80.0},
        "hop_ms": 1.0,
        "wake_ms": 0.0,
        "cores": 64,
    }
    return Tables(**{**plain, **changes})  # type: ignore[arg-type]


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


def test_twice_the_rate_takes_about_twice_the_replicas() -> None:
    load = Load(rate_per_s=1, seconds=20)
    small, large = (replicas(tables(share=0.1), load, rate, 50.0) for rate in (2_000, 4_000))
    assert small["replicas"] * 1.6 < large["replicas"] <= small["replicas"] * 2
    assert large["each"]["p99_ms"] <= 50
    assert replicas(tables(api_ms=60.0), load, 10, 50.0)["replicas"] is None


def test_capacity_of_a_real_service(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["capacity", server.url, "--rate", "20000", "--budget-ms", "1000", "--slo", "p99=1s"]
    assert main([*arguments, "--escalation-share", "0.02", "--out", str(tmp_path)]) == EXIT_PASSED
    result = json.loads((tmp_path / "capacity.json").read_text())
    assert result["replicas"] >= 2
    assert result["asked"]["escalation_share"] == 0.02
    assert result["tables"]["api_ms"]["p50"] > 0
    assert f"{result['replicas']} replicas" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("more", "option"),
    [
        (["--slo", "p99=50ms", "--slo", "p50=5ms"], "--slo"),
        (["--goodput", "5"], "--goodput"),
        (["--image-share", "0.5"], "--image-share"),
    ],
)
def test_what_the_simulation_does_not_know_is_refused(
    more: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["capacity", "http://127.0.0.1:9", "--rate", "10", *more]) == EXIT_WRONG
    assert f"error: {option}: must" in capsys.readouterr().err


def test_answers_that_never_come_are_infinitely_late_and_a_small_rate_is_simulated_for_longer() -> None:
    flooded = simulate(tables(api_ms=10.0), Load(rate_per_s=300, budget_ms=50, seconds=10))
    assert np.isinf(flooded.latency_ms).mean() > 0.5
    assert len(flooded.latency_ms) == pytest.approx(3_000, rel=0.1)
    few = predicted(tables(), Load(rate_per_s=0.01, seconds=1))
    assert few["p99_ms"] == pytest.approx(2.0)
