"""A service's highest goodput beside the session alone, and how busy the GPU was."""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.gpu import through_http as module
from loadtest.gpu.through_http import started_nvml, through_http, watching
from loadtest.measuring import contender
from loadtest.traffic.plan import Plan
from tests.loadtest.conftest import COMMAND


class Nvml:
    """NVML with one GPU, which cannot exist here; it tells when it has been read three times."""

    def __init__(self) -> None:
        self.reads, self.enough = 0, threading.Event()

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802 - its name in NVML
        return number

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        assert handle == 0
        self.reads += 1
        if self.reads == 3:
            self.enough.set()
        return SimpleNamespace(gpu=50)


def test_the_gpu_is_watched_while_the_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    nvml = Nvml()
    with watching(nvml) as busy:
        assert nvml.enough.wait(60)
    reads = nvml.reads
    assert (busy.mean, len(busy.shares)) == (0.5, reads)


def test_without_nvml_nothing_is_said_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert started_nvml() is None
    with watching(None) as busy:
        pass
    assert busy.mean is None


def test_a_service_is_driven_to_its_highest_goodput(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small real service; one rate is tried, since how high it goes is no matter here."""
    monkeypatch.setattr(contender, "MAX_RUNS", 1)
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "".join(f"a hard one {number}\n" for number in range(9)))
    plan = Plan(url="", timeout_s=60, texts=texts, max_lag_ms=1e9)  # however busy the machine is
    said = through_http(
        tuple(shlex.split(COMMAND)), plan, images=False, limit_ms=30_000.0, alone_per_s=50.0, folder=tmp_path
    )
    assert said["runs"] == 1
    assert said["p99_limit_ms"] == 30_000.0
    assert said["share_of_session_alone"] == pytest.approx(said["goodput_per_s"] / 50.0, abs=0.01)
    assert said["goodput_per_s"] > 0
