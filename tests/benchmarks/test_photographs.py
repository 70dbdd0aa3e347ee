"""Full-size image models: the bound, and what the parts take of the machine."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import photographs as module
from benchmarks.figure_blocks import photographs_block
from benchmarks.photographs import Parts, median_ms, photographs, tables

PARTS: Parts = {"decode_ms": 3.0, "screen_ms": 6.0, "expert_ms": 20.0, "sum_ms": 12.0}


def comparison(rounds: list[float]) -> Any:
    spread = {"median": 100.0, "lowest": 90.0, "highest": 110.0}
    row = {
        "name": "FastAPI",
        "goodput_per_s": spread,
        "rounds": rounds,
        "p99_ms": [9.0] * 3,
        "broken_by": [[]] * 3,
    }
    last = {**row, "name": "Sieve", "rounds": [100.0] * 3}
    limits = {"limits_ms": {"p99": 250.0}, "goodput_per_s": None, "goodput_with_degraded_per_s": None}
    objective = {**limits, "max_degraded_share": 1.0}
    return {"objective": objective, "rows": [row, last], "machine": {"processor": "a", "cores": 2}, "plan": {}}


@pytest.mark.parametrize(
    ("rounds", "times", "holds"),
    [
        ([12.5, 12.0, 14.0], "8 times the goodput of FastAPI. At least 8", True),
        ([12.6, 12.0, 14.0], "7.94 times the goodput", False),
        ([10.0, 0.0, 14.0], "10 times the goodput of FastAPI, which kept no rate at all in 1 of them", True),
        ([0.0, 0.0, 14.0], "more than any number of times the goodput of FastAPI, which kept", True),
    ],
)
def test_at_least_eight_times_are_asked(rounds: list[float], times: str, holds: bool) -> None:
    said = photographs(comparison(rounds), PARTS, 100, 0.2)
    assert said["holds"] is holds
    assert f"the cascade has {times}" in tables(said)
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
