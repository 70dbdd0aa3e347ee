"""The table of docs/runtimes.md, on a made comparison."""

from __future__ import annotations

from typing import Any

from benchmarks.runtime_tables import runtime_tables
from tests.optimize.runtimes.facts import FACTS

MADE: dict[str, Any] = {**FACTS, "machine": {"cpu": "a CPU", "cores": 2}}


def test_the_fastest_with_the_same_answers_is_bold_and_what_did_not_run_is_named_once() -> None:
    said = runtime_tables([MADE, {**MADE, "variant": "cpu-int8", "length": 0, "load_average_before": 1.0}])
    assert said.startswith("a CPU, 2 cores, 1 thread, load average before it at most 3; medians with quartiles:\n")
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 2 * 3
    assert rows[2].startswith("| made-screen, cpu-fp32, 32 tokens | ONNX Runtime | 0 | 4.0")
    assert rows[5].startswith("| made-screen, cpu-int8 | ONNX Runtime |")
    assert [row.count("**") for row in rows[2:5]] == [0, 4, 0], "the quickest one has other answers"
    assert "| 0.4, 3 of 8 other labels, not the same |" in rows[4]
    assert said.endswith("|\n\n- Apache TVM: not installed\n- TensorRT: its process ended by SIGSEGV\n")
