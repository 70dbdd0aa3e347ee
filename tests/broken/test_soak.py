"""A day of some seconds, with all that a long one has, and one that ctrl-C ends."""

from __future__ import annotations

import _thread
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak import Day, lived
from tests.conftest import TinyCascades

pytestmark = pytest.mark.broken
DAY = Day(seconds=24, requests=None, rate=30, budget_ms=300, slice_s=2, restart_s=8, switch_s=10)


def test_a_short_day(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    slices, events, stopped = lived(tiny_cascades.home / "models", "tiny-text", tmp_path, DAY)
    assert not stopped
    assert len(slices) >= 6
    assert (events.restarts >= 2, events.switches, events.refused) == (True, 1, 0)
    assert sum(each["failed"] for each in slices) == sum(each["wrong"] for each in slices) == 0
    assert any(each["wrong"] + each["requests"] for each in slices)
    assert all(set(each["held"]) >= {"server", "sieve"} for each in slices)


def test_ctrl_c_keeps_what_there_is(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    day = replace(DAY, seconds=600)
    timer = threading.Timer(30, _thread.interrupt_main)
    timer.start()
    slices, _, stopped = lived(tiny_cascades.home / "models", "tiny-text", tmp_path, day)
    assert stopped
    assert slices
