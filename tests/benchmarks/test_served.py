"""Messages for a load test of the demo's cascade."""

from __future__ import annotations

from pathlib import Path

from benchmarks.served import MESSAGES, payment_messages
from loadtest.traffic.workload import text_samples
from optimize.data.payments import OPEN


def test_the_messages_are_labelled_and_readable_by_the_load_test(tmp_path: Path) -> None:
    samples = text_samples(payment_messages(tmp_path / "messages.csv"), 50.0, seed=1)
    assert len(samples) == MESSAGES
    assert {sample.label for sample in samples} == set(OPEN)
    assert len({sample.body for sample in samples}) > MESSAGES // 2
