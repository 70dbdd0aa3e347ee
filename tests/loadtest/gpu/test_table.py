from __future__ import annotations

from typing import Any

from loadtest.gpu.table import gpu_table

MEASURED = {"model": "BERT-base", "way": "ONNX Runtime", "batch": 8, "ms": 2.5, "items_per_s": 3200.0}
RESULT: dict[str, Any] = {
    "alone": [
        {**MEASURED, "fp16_share": 0.25, "bandwidth_share": None},
        {"model": "BERT-base", "way": "TensorRT", "missing": "it is not here"},
    ],
    "http": [],
    "goals": [],
}


def test_each_way_is_a_row_and_what_is_missing_says_so() -> None:
    assert gpu_table(RESULT).splitlines()[2:] == [
        "| BERT-base | ONNX Runtime | 8 | 2.5 | 3,200 | 25.0% |  |",
        "| BERT-base | TensorRT |  | it is not here | | | |",
    ]


def test_services_and_goals_stand_below() -> None:
    served = {"model": "BERT-base", "p99_limit_ms": 100.0, "goodput_per_s": 2500.0}
    goal = {"model": "BERT-base", "batch": 1, "way": "ONNX Runtime", "times": 1.2, "asked": 1.5, "holds": False}
    result = {**RESULT, "http": [{**served, "share_of_session_alone": 0.78, "gpu_busy_share": None}], "goals": [goal]}
    said = gpu_table(result)
    assert "| BERT-base | 100 | 2,500 | 78.0% |  |" in said
    assert said.endswith("has 1.2 times the items/s of PyTorch compiled, where 1.5 was asked: missed.\n")
