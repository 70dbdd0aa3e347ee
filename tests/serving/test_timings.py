"""Where the time of a request went."""

from __future__ import annotations

import time

import pytest

from serving.timings import Timings


def test_the_parts_add_up_to_the_total() -> None:
    timings = Timings()
    timings.end("screen")
    time.sleep(0.02)
    timings.split("hop", {"queue": 5.0, "expert": 10.0})
    timings.end("screen")
    parts = timings.as_dict()
    assert list(parts) == ["screen", "queue", "expert", "hop", "total"]
    assert parts["hop"] >= 5
    assert parts["total"] >= 20
    assert sum(value for name, value in parts.items() if name != "total") == pytest.approx(parts["total"], abs=0.01)
    assert timings.spent_ms("queue", "expert", "nothing") == 15
    assert timings.header().startswith("screen;dur=")
