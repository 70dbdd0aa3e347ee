"""Runtimes in turn: parity, medians, and a row for each that says why it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.errors import RuntimesError
from optimize.runtimes.candidate import Subject
from optimize.runtimes.measure import LEAST_ROUNDS, Pace, Work, _has_turn, fastest, measure, parity, summary
from optimize.runtimes.onnx_runtime import OnnxRuntime
from serving.model.head import SOFTMAX
from tests.made import pixels, save_product
from tests.optimize.runtimes.fakes import Fake


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(
        subject=Subject(graph=save_product(tmp_path / "model.onnx"), task="image"),
        batches={size: {"pixel_values": pixels(size)} for size in (1, 8)},
        held=[{"pixel_values": pixels(2)}],
        head=SOFTMAX,
        precision="fp32",
    )


def test_every_runtime_has_a_row(work: Work) -> None:
    faults = [Fake("differs"), Fake("missing"), Fake("crashes"), Fake("exits", later=8)]
    rows = measure(work, [OnnxRuntime(), *faults], Pace(rounds=4, wait_s=60))
    first, differs, missing, crashed, exited = rows
    assert first["parity"] == {
        "items": 2,
        "max_gap": 0.0,
        "gap_share": 0.0,
        "tolerance": 1e-3,
        "other_labels": 0,
        "holds": True,
    }
    assert set(first["batches"]) == {"1", "8"}
    assert first["batches"]["8"]["speedup"] == 1
    assert first["batches"]["8"]["rounds"] == 4
    assert differs["parity"]["max_gap"] == pytest.approx(1)
    assert not differs["parity"]["holds"]
    assert missing == {"name": "fake, missing", "missing": "not installed; install it with `pip install nothing`"}
    assert crashed == {"name": "fake, crashes", "failed": "its process ended by SIGSEGV"}
    assert (exited["failed"], "batches" in exited) == ("its process ended with exit status 3", False)
    assert {name for _, name, _ in fastest(rows)} == {"ONNX Runtime"}, "another model is no faster runtime"


def test_without_the_first_one_there_is_nothing_to_compare(work: Work) -> None:
    with pytest.raises(RuntimesError, match=r"^fake, raises itself fails, so .*: ValueError: no kernel for it$"):
        measure(work, [Fake("raises"), OnnxRuntime()], Pace(rounds=1))


def test_a_slow_runtime_has_fewer_rounds_which_lie_evenly() -> None:
    pace = Pace(rounds=30, seconds=10)
    assert [pace.rounds_of(ms) for ms in (1, 500, 60_000)] == [30, 10, LEAST_ROUNDS]
    assert [number for number in range(30) if _has_turn(number, 3, 30)] == [9, 19, 29]
    assert sum(_has_turn(number, 30, 30) for number in range(30)) == 30


def test_parity_is_that_of_a_service() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    found = parity(logits[::-1], logits, SOFTMAX, "int8")
    assert (found["other_labels"], found["holds"]) == (2, False)
    assert parity(logits + np.float32(0.01), logits, SOFTMAX, "int8")["holds"]
    assert not parity(logits + np.float32(0.01), logits, SOFTMAX, "fp32")["holds"]
    assert not parity(logits * np.float32("nan"), logits, SOFTMAX, "int8")["holds"]


def test_a_spread_is_of_quartiles() -> None:
    found: dict[str, Any] = summary([1.0, 2.0, 3.0, 4.0, 100.0])
    assert found == {"median_ms": 3.0, "lower_quartile_ms": 2.0, "upper_quartile_ms": 4.0, "rounds": 5}
