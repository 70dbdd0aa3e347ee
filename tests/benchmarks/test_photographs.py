"""Full-size image models: the bound, and what the parts take of the machine."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import photographs as module
from benchmarks.figure_blocks import photographs_block
from benchmarks.photographs import Parts, median_ms, photographs, tables

PARTS: Parts = {"decode_ms": 3.0, "screen_ms": 6.0, "expert_ms": 20.0, "sum_ms": 12.0}


def comparison(times: float | None) -> Any:
    spread = {"median": 100.0, "lowest": 90.0, "highest": 110.0}
    row = {
        "name": "FastAPI",
        "goodput_per_s": spread,
        "rounds": [100.0] * 3,
        "p99_ms": [9.0] * 3,
        "broken_by": [[]] * 3,
    }
    ratio = None if times is None else {"median": times, "low": times, "high": times}
    last = {**row, "name": "Sieve", "times_the_one_before": ratio, "times_the_first": ratio}
    limits = {"limits_ms": {"p99": 250.0}, "goodput_per_s": None, "goodput_with_degraded_per_s": None}
    objective = {**limits, "max_degraded_share": 1.0}
    return {"objective": objective, "rows": [row, last], "machine": {"processor": "a", "cores": 2}, "plan": {}}


@pytest.mark.parametrize(("times", "holds"), [(8.0, True), (7.9, False), (None, False)])
def test_at_least_eight_times_are_asked(times: float | None, holds: bool) -> None:
    said = photographs(comparison(times), PARTS, 100, 0.2)
    assert said["holds"] is holds
    assert said["busy_cores"] == pytest.approx(1.2)
    text = photographs_block(said)
    assert text.startswith("a, 2 cores that the generator shared; 100 photographs")
    assert ("missed" in text) is not holds
    assert "| 3.00 | 6.00 | 20.00 | 12.00 | 1.20 of 2 |" in tables(said)


def test_every_file_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(module, "timed", lambda call, _seconds: [call() or 2.0 for _ in range(7)])
    assert median_ms(seen.append, [1, 2, 3], 1.0) == 2.0
    assert seen == [1, 2, 3, 1, 2, 3, 1]
