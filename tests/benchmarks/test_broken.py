"""The bounds, and the tables. tests/broken breaks the parts of a service."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.breaking import Outcome
from benchmarks.broken import Broken, EndRow, PartRow, late, short_of, tables

FINE: Outcome = {
    "requests": 400,
    "failed": 0,
    "in_hands": 2,
    "lost": 0,
    "shed": 0,
    "full_share_before": 1.0,
    "degraded_share": 0.9,
    "p99_ms": (8.0, 99.0, 9.0),
    "recovered_s": 0.4,
}


def row(*, takes_along: bool = False, **changes: Any) -> PartRow:
    changed: Outcome = {**FINE, **changes}  # type: ignore[typeddict-item]
    return {"what": "a part", "takes_along": takes_along, "outcomes": [FINE, changed]}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (row(failed=2, lost=0), "a part: 2 requests failed that it did not have in hand"),
        (row(failed=3, lost=1, takes_along=True), "a part: 1 requests failed"),
        (row(p99_ms=(8.0, 100.4, 9.0)), "a part: p99 was 100.4 ms after the first second"),
        (row(recovered_s=5.1), "a part: full answers took longer than 5 s"),
        (row(recovered_s=None), "a part: full answers took longer than 5 s"),
        (row(full_share_before=0.4), "a part: fewer than 50% full answers before it"),
    ],
    ids=["failed", "lost", "late", "slow to recover", "never back", "a busy machine"],
)
def test_each_bound_that_is_not_kept_is_said(changed: PartRow, says: str) -> None:
    (said,) = short_of(changed, 100.0)
    assert said.startswith(says)


def test_bounds_that_are_kept_say_nothing() -> None:
    assert short_of(row(), 100.0) == []
    assert short_of(row(p99_ms=(8.0, None, 9.0)), 100.0) == [], "a part that was back within a second"
    assert short_of(row(failed=2, lost=0, takes_along=True), 100.0) == []


def test_an_end_may_lose_nothing_and_take_ten_seconds() -> None:
    def ends(failed: int, took_s: float | None) -> EndRow:
        return {"what": "an end", "ends": [{"accepted": 50, "failed": failed, "took_s": took_s}]}

    assert late(ends(0, 9.9)) == []
    assert late(ends(1, 9.9)) == ["an end: 1 requests that were accepted got no answer"]
    assert late(ends(0, 10.1)) == late(ends(0, None)) == ["an end: a process lived on for more than 10 s"]


def test_the_tables_show_the_worst_of_all_times() -> None:
    said: Broken = {
        "machine": {"cores": 2, "processor": "a processor", "python": "3.11"},
        "load_average_before": 0.1,
        "cascade": "demo-text",
        "rate": 40.0,
        "budget_ms": 100.0,
        "parts": [row(recovered_s=1.2, p99_ms=(7.0, None, 12.0)), row(failed=2, takes_along=True, recovered_s=None)],
        "ends": [{"what": "an end", "ends": [{"accepted": 50, "failed": 0, "took_s": 0.7}]}],
        "publishings": 2,
        "traces": 0,
        "short": ["a part: it is slow"],
    }
    lines = tables(said).splitlines()
    assert lines[2:4] == [
        "| a part | 2 | 800 | 0 | 90% | 8, 99, 12 ms | 1.2 s |",
        "| a part | 2 | 800 | 2 of 4 in its hands | 90% | 8, 99, 9 ms | never |",
    ]
    assert lines[7] == "| an end | 1 | 50 | 0 | 0.7 s |"
    assert lines[9:] == ["2 publishings on a full disk left no traces.", "", "- Falls short: a part: it is slow."]
