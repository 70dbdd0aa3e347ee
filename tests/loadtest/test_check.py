"""The generator against a server that does nothing."""

from __future__ import annotations

import json
from pathlib import Path

from loadtest.check import check_generator


def test_what_was_reached_is_written_whether_it_was_enough_or_not(tmp_path: Path) -> None:
    holds = check_generator(200, 1.0, tmp_path)
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["answered"] == found["requests"] > 100
    assert found["holds"] == holds == (found["lag_p99_ms"] <= 5)
    assert 0 < found["reached_per_s"] < 250
    assert 0 < found["core_share"] < 1.2
