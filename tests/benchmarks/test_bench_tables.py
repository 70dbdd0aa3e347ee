"""bench.json as Markdown."""

from __future__ import annotations

import json

from benchmarks.bench_tables import bounds_table, closed_loops, said, tables
from benchmarks.bounds import Bound
from tests.conftest import ROOT

RECORDED = json.loads((ROOT / "docs" / "measured" / "figures" / "bench.json").read_text())


def test_a_bound_that_falls_short_is_bold_and_nothing_is_told_as_such() -> None:
    kept: Bound = {"what": "a", "measured": 2835.1, "asked": "at least 2000", "holds": True}
    missed: Bound = {"what": "b", "measured": None, "asked": "at most 5", "holds": False}
    assert said(kept) == "2,835.10"
    assert bounds_table([kept, missed]).splitlines()[2:] == [
        "| a | at least 2000 | 2,835.10 |",
        "| b | at most 5 | **nothing** |",
    ]


def test_every_number_of_connections_has_a_line() -> None:
    lines = closed_loops(RECORDED["figures"]["rounds"]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        *(
            "requests/s, 1 connection",
            "requests/s, 8 connections",
            "requests/s, 32 connections",
            "p50 ms, 1 connection",
        ),
    ]
    assert {line.count("|") for line in lines} == {5}


def test_the_tables_have_every_load_and_every_bound() -> None:
    text = tables(RECORDED)
    figures = RECORDED["figures"]
    for step in (*figures["expert_loads"], *figures["screen_loads"]):
        assert f"\n| {step['times']:g} | {step['offered_per_s']:.0f} |" in text
    for row in RECORDED["bounds"]:
        assert f"\n| {row['what']} | {row['asked']} |" in text
