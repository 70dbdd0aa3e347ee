"""The load clients against a real server."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from loadtest.open_loop import Outcome, open_loop, percentile, server_total_ms
from loadtest.wrk import closed_loop
from tests.server import Server


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.999) == 7
    assert percentile([], 0.5) != percentile([], 0.5), "NaN of none"


def test_the_servers_own_time_is_read_from_its_header() -> None:
    assert server_total_ms("screen;dur=1.5, total;dur=2.25") == 2.25
    assert server_total_ms("") is None


def test_an_open_loop_sends_what_is_due_and_keeps_every_outcome(server: Server) -> None:
    body = {"text": "where is my refund", "budget_ms": 1000}
    outcomes = asyncio.run(open_loop(f"{server.url}/classify_text", body, per_s=40, seconds=2))
    assert 40 < len(outcomes) < 130
    assert {outcome.status for outcome in outcomes} == {200}
    assert all(outcome.server_ms is not None and outcome.latency_ms > outcome.server_ms for outcome in outcomes)
    assert {outcome.stage for outcome in outcomes} <= {"screen", "expert"}


def test_a_server_that_is_not_there_is_an_outcome_too() -> None:
    outcomes = asyncio.run(open_loop("http://127.0.0.1:9/x", {}, per_s=20, seconds=0.5))
    assert outcomes
    assert all(isinstance(outcome, Outcome) and outcome.status == 0 for outcome in outcomes)


def test_a_closed_loop_gives_rates_and_percentiles(server: Server) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed (apt-get install wrk)")
    body = {"text": 'said "no"\n', "budget_ms": 1000}
    figures = closed_loop(f"{server.url}/classify_text", body, connections=2, seconds=1)
    assert figures["requests"] > 10
    assert figures["not_2xx"] == figures["broken"] == 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["per_s"] == pytest.approx(figures["requests"] / figures["seconds"])
    wrong = closed_loop(f"{server.url}/classify_text", {"text": 5}, connections=1, seconds=1)
    assert wrong["not_2xx"] == wrong["requests"]
    assert wrong["per_s"] == 0
