"""Memory of a bundle: a row for each process, their sum, and its bound."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.figure_blocks import memory_block
from benchmarks.memory import AT_MOST_MB, Row, measured, memory, table

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()', '--service-name', 'sieve'])"


def test_each_process_of_a_server_has_a_row() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE) as server:
        rows: list[Row] = []
        while len(rows) < 2:
            rows = measured(server.pid)
        assert [row["process"] for row in rows] == ["server", "sieve"]
        assert all(0 < row["pss_mb"] <= row["rss_mb"] for row in rows)
        server.communicate(b"\n")


@pytest.mark.parametrize(("most", "holds"), [(AT_MOST_MB - 100, True), (AT_MOST_MB - 99, False)])
def test_the_sum_of_pss_has_a_bound(most: float, holds: bool) -> None:
    rows: list[Row] = [
        {"process": "server", "rss_mb": 150.0, "pss_mb": 100.0},
        {"process": "sieve", "rss_mb": 900.0, "pss_mb": most},
    ]
    said = memory(["a", "b"], 0.1, rows)
    assert said["holds"] is holds
    assert said["rss_mb"] == 1050
    assert f"| {100 + most:.0f} |" in table(said) if holds else f"| **{100 + most:.0f}** |" in table(said)
    assert "a, b" in memory_block(said)
