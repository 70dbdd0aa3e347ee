"""The verdict as other tools read it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtest.pages.outputs import write_junit, write_prometheus
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import result_of
from tests.loadtest.replies import reply


def result(limit_ms: float, *, max_lag_ms: float = 5.0) -> Any:
    replies = [reply(20.0 + number % 10, due_s=number / 100) for number in range(2_000)]
    replies += [reply(1.0, kind="timed out", due_s=20.0)] * 30
    objective = Objective(limits_ms={"p50": limit_ms})
    return result_of(replies, 20.0, objective, idle=replies, network_ms=0.0, max_lag_ms=max_lag_ms)


def cases(path: Path) -> dict[str, list[str]]:
    found = ElementTree.parse(path).getroot().iter("testcase")
    return {case.get("name", ""): [child.tag for child in case] for case in found}


def test_each_part_of_the_objective_is_a_test_case(tmp_path: Path) -> None:
    write_junit(tmp_path / "run.xml", result(100.0))
    kept = cases(tmp_path / "run.xml")
    assert kept["p50 of all that was asked, ms"] == []
    assert kept["the generator keeps its schedule"] == []
    write_junit(tmp_path / "run.xml", result(1.0))
    assert cases(tmp_path / "run.xml") == kept | {"p50 of all that was asked, ms": ["failure"]}
    assert "at most 1 asked" in (tmp_path / "run.xml").read_text()
    write_junit(tmp_path / "run.xml", result(100.0, max_lag_ms=-1.0))
    assert cases(tmp_path / "run.xml")["the generator keeps its schedule"] == ["error"]


def test_the_figures_are_gauges(tmp_path: Path) -> None:
    write_prometheus(tmp_path / "run.prom", result(100.0))
    families = text_string_to_metric_families((tmp_path / "run.prom").read_text())
    got = {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}
    assert (got["loadtest_passed",], got["loadtest_valid",]) == (1, 1)
    assert (got["loadtest_requests", "ok"], got["loadtest_requests", "timed out"]) == (2_000, 30)
    assert 0.02 <= got["loadtest_latency_seconds", "p50"] < 0.03
    assert got["loadtest_latency_seconds", "p99"] == float("inf")
    assert got["loadtest_goodput_per_second",] == 100
