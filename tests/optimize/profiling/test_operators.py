from __future__ import annotations

import json
from typing import Any

from optimize.profiling.operators import TOP, tabulate
from tests.optimize.profiling.conftest import EXPERT, SCREEN


def test_operators_come_from_traces_that_are_there(profiled: dict[str, Any]) -> None:
    for name in (EXPERT, SCREEN):
        for found in profiled[name]["variants"].values():
            table = found["operators"]
            events = json.loads((profiled["folder"] / name / table["trace"]).read_text())
            assert tabulate(events, table["runs"])["by_type"] == table["by_type"]
            assert 0 < len(table["by_type"]) <= TOP
            assert 0 <= table["share_not_in_nodes"] < 1
            assert sum(row["share"] for row in table["by_type"]) <= 1.001
    by_node = {row["operator"] for row in profiled[EXPERT]["variants"]["cpu-fp32"]["operators"]["by_node"]}
    assert "MatMul" in by_node or "Gemm" in by_node


def test_what_comes_before_the_counted_runs_is_not_counted() -> None:
    def node(name: str, kind: str, ts: int, dur: int) -> dict[str, Any]:
        arguments = {"op_name": kind, "provider": "CPUExecutionProvider"}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": arguments}

    events: list[dict[str, Any]] = [{"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 9}]
    for start, scale in ((100, 9), (1000, 1), (2000, 1)):
        events += [node("a", "MatMul", start, 300 * scale), node("b", "MatMul", start, 100 * scale)]
        events += [node("c", "Softmax", start, 200 * scale)]
        events += [{"cat": "Session", "name": "model_run", "ts": start, "dur": 800 * scale}]
    table = tabulate(events, runs=2)
    shown = [(row["name"], row["calls"], row["ms"], row["share"]) for row in table["by_type"]]
    assert shown == [("MatMul", 2, 0.4, 0.5), ("Softmax", 1, 0.2, 0.25)]
    assert [row["name"] for row in table["by_node"]] == ["a", "c", "b"]
    assert (table["run_ms"], table["share_not_in_nodes"]) == (0.8, 0.25)
