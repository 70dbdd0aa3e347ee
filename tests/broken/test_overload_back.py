"""An overload of some seconds, and the way back from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.homes import ALWAYS, make_home
from benchmarks.overload_back import overloaded
from benchmarks.overload_back_result import table
from benchmarks.servers import sieve
from loadtest.traffic.plan import Plan
from loadtest.verdict.steps import Saturation
from tests.conftest import TinyCascades

pytestmark = pytest.mark.broken
BUDGET_MS = 300.0


def test_a_short_overload(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=ALWAYS)
    with sieve(home, "tiny-text") as server:
        plan = Plan(url=server.url, budget_ms=BUDGET_MS)
        said = overloaded(server, plan, Saturation(per_s=40.0, found="given"), times=10.0, seconds=4.0, back_s=4.0)
    assert [row["times"] for row in said["rows"]] == [1.0, 1.5, 0.5, 10.0, 0.5]
    assert all(row["failed"] == 0 and row["full_per_s"] > 0 for row in said["rows"])
    assert said["rows"][3]["requests"] > 5 * said["rows"][2]["requests"]
    assert len(said["after_p99_ms"]) <= 4
    assert min(said["memory_mb"].values()) > 10  # type: ignore[type-var]  # a TypedDict of floats
    assert "| overload | 10 |" in table(said)
