"""wrk against a real server: by the function, and by the line that a person types."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from loadtest.traffic.wrk import closed_loop
from tests.conftest import ROOT
from tests.server import Server

pytestmark = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed (apt-get install wrk)")


def test_a_closed_loop_gives_rates_and_percentiles(server: Server) -> None:
    body = {"text": 'said "no"\n', "budget_ms": 1000}
    figures = closed_loop(f"{server.url}/classify_text", body, connections=2, seconds=1)
    assert figures["requests"] > 10
    assert figures["not_2xx"] == figures["broken"] == 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["per_s"] == pytest.approx(figures["requests"] / figures["seconds"])
    wrong = closed_loop(f"{server.url}/classify_text", {"text": 5}, connections=1, seconds=1)
    assert wrong["not_2xx"] == wrong["requests"]
    assert wrong["per_s"] == 0


def test_the_quickest_look_needs_nothing_but_an_address(server: Server) -> None:
    line = ["wrk", "-t1", "-c8", "-d1s", "-s", "loadtest/quick.lua", server.url]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    number = r"([\d.]+)"
    match = re.search(
        rf"{number} answers/s; p50 {number} ms, p99 {number} ms, p99.9 {number} ms; (\d+) not 2xx, 0 broken", said
    )
    assert match, said
    per_s, p50, p99, p999 = map(float, match.groups()[:4])
    assert per_s > 0
    assert 0 < p50 <= p99 <= p999
