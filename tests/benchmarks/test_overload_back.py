"""When the requests of an overload are due. tests/broken sends a short one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.overload_back import due
from benchmarks.overload_back_result import Phase


def test_phases_follow_each_other_without_a_pause() -> None:
    phases = Phase("before", 0.5, 10.0), Phase("overload", 10.0, 20.0), Phase("after", 0.5, 10.0)
    due_s = due(phases, 40.0, seed=1)
    assert np.all(np.diff(due_s) >= 0)
    counts = np.histogram(due_s, [0.0, 10.0, 30.0, 40.0])[0]
    assert counts == pytest.approx([200, 8_000, 200], rel=0.25)
    assert counts.sum() == len(due_s)
