"""Messages for a load test of the demo's cascade, and cores for its generator."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from benchmarks.served import MESSAGES, payment_messages, pinned
from loadtest.errors import OptionError
from loadtest.traffic.workload import text_samples
from optimize.data.payments import OPEN


def test_the_messages_are_labelled_and_readable_by_the_load_test(tmp_path: Path) -> None:
    samples = text_samples(payment_messages(tmp_path / "messages.csv"), 50.0, seed=1)
    assert len(samples) == MESSAGES
    assert {sample.label for sample in samples} == set(OPEN)
    assert len({sample.body for sample in samples}) > MESSAGES // 2


def test_the_generator_gets_a_core_and_the_service_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [0, 1, 3])
    assert pinned(None) == ([], [])
    assert pinned(1) == (["taskset", "-c", "0,3"], ["taskset", "-c", "1"])
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [1])
    with pytest.raises(OptionError, match="must leave a core for the service"):
        pinned(1)
