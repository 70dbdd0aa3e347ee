"""wrk against a real server."""

from __future__ import annotations

import shutil

import pytest

from loadtest.wrk import closed_loop
from tests.server import Server


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
