from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from optimize.build import Build
from optimize.recipe import Goals
from optimize.report.summary import doubts, shortfalls, tables

RATIOS = {
    "screen_speedup": 9.0,
    "screen_drop_points": 0.5,
    "expert_speedup": 4.0,
    "expert_drop_points": -0.1,
    "cascade_drop_points": 0.2,
    "cascade_escalation_points": 16.0,
}


@pytest.mark.parametrize(
    ("goals", "missed"),
    [
        ({}, []),
        ({"screen_min_speedup": 9, "screen_max_drop_points": 0.5, "cascade_max_drop_points": 0.2}, []),
        ({"screen_min_speedup": 10}, ["screen_min_speedup: 9.00 measured, 10.0 asked"]),
        ({"screen_max_drop_points": 0.4, "expert_min_speedup": 5}, ["screen_max_drop_points", "expert_min_speedup"]),
        ({"expert_max_drop_points": 0.0}, []),
        ({"cascade_max_escalation_points": 15}, ["cascade_max_escalation_points: 16.00 measured, 15.0 asked"]),
    ],
)
def test_what_falls_short_is_said(goals: dict[str, float], missed: list[str]) -> None:
    got = shortfalls(Goals(**goals), RATIOS)
    assert len(got) == len(missed)
    assert all(said.startswith(expected) for said, expected in zip(got, missed, strict=True))


def test_what_an_accuracy_hides_is_said() -> None:
    targets = np.array([0] * 8 + [1, 2])
    lazy, fine = np.zeros(10, dtype=np.int64), np.array([0] * 8 + [1, 0])
    assert doubts({"teacher": targets}, targets, ("a", "b", "c")) == []
    assert doubts({"screen": lazy}, targets, ("a", "b", "c")) == [
        "the screen is no better (80.00%) than always saying 'a'",
        "the screen never says b, c",
    ]
    assert doubts({"expert": fine}, targets, ("a", "b", "c")) == ["the expert never says c"]


def test_the_summary_of_a_run_has_a_row_for_each_step_and_model(build: Build) -> None:
    summary = json.loads((build.folder / "summary.json").read_text())
    assert [row["name"] for row in summary["steps"]] == [result.name for result in build.results]
    assert set(summary["models"]) == {"teacher", "expert", "screen", "cascade"}
    for row in summary["models"].values():
        assert 0.3 < row["accuracy"] <= 1
        assert row["size_bytes"] > 0
        assert row["latency_ms"]["median_ms"] > 0
    teacher, screen = summary["models"]["teacher"], summary["models"]["screen"]
    speedup = teacher["latency_ms"]["median_ms"] / screen["latency_ms"]["median_ms"]
    assert summary["ratios"]["screen_speedup"] == pytest.approx(speedup, abs=0.01)
    sizes = {row["name"]: row["size_bytes"] for row in summary["steps"]}
    assert sizes["screen/distill"] > sizes["screen/prune"]


def test_the_tables_show_every_row(build: Build) -> None:
    summary = json.loads((build.folder / "summary.json").read_text())
    summary["steps"][0]["latency_ms"] = None
    console = Console(width=140, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in tables(summary):
        console.print(table)
    shown = console.export_text()
    for row in summary["steps"]:
        assert row["name"] in shown
    assert "not measured" in shown
    assert ("synthetic" in shown) == summary["data"]["synthetic"]
