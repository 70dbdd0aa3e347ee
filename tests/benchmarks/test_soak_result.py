"""The figures of a day, from made slices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.held import Held
from benchmarks.soak_result import BAD, LEAST_SLICES, Slice, slice_of, soak_of, table, write_soak
from tests.loadtest.replies import reply

HELD: Held = {"rss_mb": 300.0, "pss_mb": 200.0, "files": 60, "threads": 20, "sockets": 30}


def day(*, slices: int = 60, mb_a_slice: float = 0.0, **last: Any) -> list[Slice]:
    """Slices of 1,000 requests; in each the API takes so many MB more. `last` is another in the last one."""
    made: list[Slice] = [
        {
            "at_s": 10.0 * (place + 1),
            "requests": 1_000,
            "failed": 0,
            "wrong": 0,
            "shed": 0,
            "degraded": 3,
            "p99_ms": 9.0 + place % 3,
            "held": {"sieve": {**HELD, "pss_mb": 200.0 + mb_a_slice * place}, "server": HELD},
        }
        for place in range(slices)
    ]
    made[-1].update(last)  # type: ignore[typeddict-item]
    return made


def test_good_and_bad_requests_are_told_apart() -> None:
    replies = [reply(parts={"total": 4.0})] * 98 + [reply(kind="degraded", parts={"total": 90.0})] * 2
    replies += [reply(kind="failed", status=status, shape=BAD) for status in (400, 422, 500, 0)]
    replies += [reply(kind="ok", status=200, shape=BAD), reply(kind="failed", status=0), reply(kind="shed", status=503)]
    said = slice_of(replies, os.getpid(), 10.0)
    assert (said["requests"], said["failed"], said["wrong"], said["shed"], said["degraded"]) == (107, 1, 3, 1, 2)
    assert said["p99_ms"] == 90.0
    assert said["held"]["server"]["pss_mb"] > 1


def test_a_flat_day_is_fine() -> None:
    said = soak_of(day(), requests=None)
    assert (said["requests"], said["seconds"], said["short"], said["growth"]) == (60_000, 600.0, [], None)
    assert {each["what"] for each in said["trends"]} >= {"memory of the API, PSS in MB", "p99, ms", "files of the API"}


@pytest.mark.parametrize(
    ("slices", "says"),
    [
        (day(mb_a_slice=0.5), "memory of the API, PSS in MB grows: 26.5 were added to 21"),
        (day(failed=2), "2 good requests failed"),
        (day(wrong=1), "1 bad requests were not refused as such"),
        (day(slices=LEAST_SLICES - 1), "too short for a trend"),
    ],
    ids=["grows", "failed", "wrong", "short"],
)
def test_what_falls_short_is_said(slices: list[Slice], says: str) -> None:
    (said,) = soak_of(slices, requests=None)["short"]
    assert said.startswith(says)


def test_memory_after_a_tenth_of_the_requests_is_compared_with_that_at_the_end() -> None:
    said = soak_of(day(mb_a_slice=0.1), requests=60_000)
    assert said["growth"] == {"early_mb": 200.4, "late_mb": 205.8, "times": pytest.approx(1.027, abs=1e-3)}
    assert not [sentence for sentence in said["short"] if "a tenth" in sentence]
    (grown,) = [s for s in soak_of(day(mb_a_slice=0.2), requests=60_000)["short"] if "a tenth" in s]
    assert grown.startswith("memory grew 1.05")


def test_a_day_is_written_with_its_picture_and_shown(tmp_path: Path) -> None:
    said = soak_of(day(p99_ms=None), requests=60_000)
    said["restarts"], said["switches"] = 10, 2
    write_soak(tmp_path / "build" / "soak.json", said)
    assert json.loads((tmp_path / "build" / "soak.json").read_text())["trends"] == said["trends"]
    assert ">sockets<" in (tmp_path / "build" / "soak.svg").read_text()
    lines = table(said).splitlines()
    assert lines[0].startswith("60,000 requests in 10 minutes: 0 failed, 0 shed, 180 degraded, 0 bad ones not refused")
    assert "the expert was ended 10 times, another version served 2 times" in lines[0]
    assert "| memory of the API, PSS in MB | 200.0 | +0.00 (+0.00 to +0.00) | flat |" in lines


def test_a_day_that_ended_at_once_can_be_written(tmp_path: Path) -> None:
    said = soak_of([], requests=None)
    write_soak(tmp_path / "soak.json", said)
    assert said["short"] == ["too short for a trend: fewer than 10 slices"]
