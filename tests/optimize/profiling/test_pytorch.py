from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optimize.profiling.pytorch import checkpoints
from tests.optimize.profiling.conftest import EXPERT, SCREEN


def test_the_checkpoints_are_traced_by_pytorch(profiled: dict[str, Any]) -> None:
    (teacher,) = profiled[EXPERT]["checkpoints"].values()
    trace = json.loads((profiled["folder"] / EXPERT / teacher["trace"]).read_text())
    assert sum(event.get("name") == "forward" for event in trace["traceEvents"]) == teacher["runs"]
    linear = next(row for row in teacher["by_type"] if row["name"] == "aten::addmm")
    assert linear["calls"] == 4 * 6 + 2  # four layers of six, the pooler and the head
    assert 0 < sum(row["share"] for row in teacher["by_type"]) < 1
    assert profiled[EXPERT]["build_is_of_this_artifact"] is True
    # Nobody named a build folder for the screen, and there is none where the command ran.
    assert profiled[SCREEN]["checkpoints"] == {}
    assert "no PyTorch profile" in profiled["said"][SCREEN]


def test_a_teacher_that_is_a_ready_graph_is_left_out(tmp_path: Path) -> None:
    manifest = SimpleNamespace(provenance={"steps": ["teacher/checkpoint"]}, role="expert", name="ready-expert")
    (tmp_path / "teacher" / "checkpoint-0123").mkdir(parents=True)
    (tmp_path / "teacher" / "checkpoint-0123" / "model.onnx").write_bytes(b"graph")
    artifact: Any = SimpleNamespace(manifest=manifest)
    assert checkpoints(artifact, tmp_path) == {}
