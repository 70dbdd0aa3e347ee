"""The bounds of the hot path: the recorded run gives the recorded rows."""

from __future__ import annotations

import json

import pytest

from benchmarks.bounds import bounds, spread
from tests.conftest import ROOT

RECORDED = json.loads((ROOT / "docs" / "measured" / "hot-path" / "bench.json").read_text())
FIGURES = RECORDED["figures"]
ROUNDS = {key: value for key, value in FIGURES.items() if isinstance(value, dict) and "median" in value}
LOADS = {key.removeprefix("load_"): value for key, value in FIGURES.items() if key.startswith("load_")}
ENDURANCE = {
    "escalations_lost": FIGURES["escalations_lost"],
    "longest_ms": FIGURES["longest_ms"],
    "rss_bytes_after_20000": FIGURES["rss_bytes"]["after_20000"],
    "rss_bytes_at_the_end": FIGURES["rss_bytes"]["at_the_end"],
}


def test_the_recorded_figures_give_the_recorded_rows() -> None:
    assert bounds(ROUNDS, LOADS, ENDURANCE) == RECORDED["bounds"]


def test_a_bound_is_broken_by_its_own_figure_alone() -> None:
    before = {row["what"]: row["holds"] for row in bounds(ROUNDS, LOADS, ENDURANCE)}
    after = {row["what"]: row["holds"] for row in bounds(ROUNDS, LOADS, {**ENDURANCE, "longest_ms": 20.1})}
    longest = "longest of the empty model's answers at 1 connection, ms"
    assert before[longest]
    assert after == {**before, longest: False}


def test_a_spread_is_of_all_rounds() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
    with pytest.raises(ValueError, match="no median"):
        spread([])
