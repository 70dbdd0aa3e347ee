from __future__ import annotations

from rich.console import Console

from optimize.runtimes.tables import lines, table
from tests.optimize.runtimes.facts import FACTS


def test_the_table_has_a_row_for_each_runtime_that_ran() -> None:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table(FACTS))
    shown = captured.get()
    assert "made-screen cpu-fp32, 32 tokens, 1 thread(s)" in shown
    for expected in ("2.00", "(1.80 to 2.40)", "2.00 times", "40 (50)", "1.20", "3 of 8 other", "not the same"):
        assert expected in shown
    assert "TVM" not in shown


def test_below_it_stands_what_did_not_run_and_what_was_the_fastest() -> None:
    assert lines(FACTS) == [
        "Apache TVM: not installed",
        "TensorRT: its process ended by SIGSEGV",
        "the fastest at batch size 1 with the same answers: OpenVINO, 2 ms",
        "the fastest at batch size 8 with the same answers: OpenVINO, 2 ms",
        "mind: this variant is served one item at a time, since its answers would depend on their company",
        "mind: load 3 before this began; the spread may be other work's",
    ]
