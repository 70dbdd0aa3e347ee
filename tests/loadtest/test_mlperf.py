"""`python -m loadtest mlperf`: the peak by LoadGen, and the verdict on both clients."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_FAILED, EXIT_PASSED, EXIT_WRONG, main
from loadtest.measuring.loadgen import LoadGen, LoadGenRun
from loadtest.mlperf import MlperfRound, peak, summary, table
from loadtest.traffic.plan import Plan
from loadtest.traffic.process import running
from tests.loadtest.conftest import SERVICE


def run(rate: float, valid: bool) -> LoadGenRun:
    return {
        "asked_per_s": rate,
        "completed_per_s": rate * 0.99,
        "valid": valid,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "queries": 500,
        "over_limit": 0,
        "not_full": 0,
        "early_stopping": "",
    }


def test_the_peak_is_the_fastest_valid_run() -> None:
    asked: list[float] = []

    def attempt(rate: float) -> LoadGenRun:
        asked.append(rate)
        return run(rate, rate <= 100)

    assert 93 <= peak(attempt, 40) <= 99
    assert sum(rate == asked[-1] for rate in asked) <= 2
    assert peak(lambda rate: run(rate, False), 40) == 0


def test_one_bad_moment_is_no_limit() -> None:
    seen: set[float] = set()

    def attempt(rate: float) -> LoadGenRun:
        first = rate not in seen
        seen.add(rate)
        return run(rate, not first and rate <= 100)

    assert 93 <= peak(attempt, 40) <= 99


@pytest.mark.parametrize(("own", "agrees"), [(100.0, True), (92.0, True), (109.0, True), (80.0, False), (0.0, False)])
def test_they_agree_within_a_tenth(own: float, agrees: bool) -> None:
    done: list[MlperfRound] = [{"loadgen_per_s": 100.0, "runs": [], "own_per_s": own, "own_broken_by": []}]
    result = summary(done, Plan(url="http://x"), 50.0, 0.9)
    assert result["agrees"] == agrees
    said = table(result)
    assert f"| 1 | 100 | {own:.0f} |\n| median | 100 | {own:.0f} |\n\n" in said
    assert ("THEY DO NOT AGREE" in said) != agrees
    assert said.endswith("Accuracy by LoadGen: 90.00%.")


@pytest.mark.usefixtures("computed_runs")
def test_both_clients_are_held_against_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def performance(self: LoadGen, rate: float, *, seconds: float, queries: int, seed: int) -> LoadGenRun:
        return run(rate, rate <= 50)  # so that a busy machine changes nothing; test_loadgen.py has real runs

    monkeypatch.setattr(LoadGen, "performance", performance)
    line = [sys.executable, str(SERVICE), "{port}"]
    with running(line, ready="/readyz", log=tmp_path / "log", folder=tmp_path) as server:
        status = main(["mlperf", server.url, "--rounds", "2", "--slo", "p99=100ms", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "mlperf.json").read_text())
    assert status == (EXIT_PASSED if result["agrees"] else EXIT_FAILED)
    assert len(result["rounds"]) == 2
    assert 40 <= result["loadgen_per_s"] <= 50
    assert 0 < result["own_per_s"] <= 50
    assert "p99 of all that was asked, ms: 500.0" in result["rounds"][0]["own_broken_by"][0]
    assert result["accuracy"] is None, "no text has a label"


@pytest.mark.usefixtures("computed_runs")
@pytest.mark.parametrize(("ends_in", "rounds"), [(1, 0), (2, 1)])
def test_a_round_that_the_time_limit_ends_does_not_count(
    ends_in: int, rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def performance(self: LoadGen, rate: float, *, seconds: float, queries: int, seed: int) -> LoadGenRun:
        assert self._until is not None
        self._until.require(1e9 if seed == ends_in else 0.0, "have a round")
        return run(rate, rate <= 50)

    monkeypatch.setattr(LoadGen, "performance", performance)
    line = [sys.executable, str(SERVICE), "{port}"]
    options = ("--rounds", "3", "--slo", "p99=100ms", "--limit", "100000", "--out", str(tmp_path))
    with running(line, ready="/readyz", log=tmp_path / "log", folder=tmp_path) as server:
        status = main(["mlperf", server.url, *options])
    said = capsys.readouterr()
    if not rounds:
        assert status == EXIT_WRONG
        assert "--limit: must leave time to have a round" in said.err
        return
    result = json.loads((tmp_path / "mlperf.json").read_text())
    assert len(result["rounds"]) == rounds
    assert "the time limit ended round 2, which does not count" in said.out


def test_one_percentile_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mlperf", "http://127.0.0.1:1", "--slo", "p50=10ms"]) == EXIT_WRONG
    assert "must state a p99 alone" in capsys.readouterr().err
