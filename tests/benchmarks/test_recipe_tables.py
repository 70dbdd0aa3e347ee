"""A recipe's summary as tables: rows, ratios, goals, and what could not be measured."""

from __future__ import annotations

from typing import Any

from benchmarks.recipe_tables import tables


def latency(median_ms: float) -> dict[str, float]:
    return {"median_ms": median_ms, "lower_quartile_ms": median_ms - 1, "upper_quartile_ms": median_ms + 1}


def step(name: str, runtime: str, precision: str, latency_ms: dict[str, float] | None) -> dict[str, Any]:
    row = {"name": name, "runtime": runtime, "precision": precision, "accuracy": 0.9, "size_bytes": 2_000_000}
    return {**row, "latency_ms": latency_ms}


SUMMARY = {
    "recipe": "my-cascade",
    "data": {"splits": {"holdout": {"size": 1200}}},
    "machine": {"cpu": "a CPU"},
    "rounds": 100,
    "steps": [
        step("teacher/checkpoint", "PyTorch", "fp32", latency(20)),
        step("expert/fuse-fp16", "ONNX Runtime", "fp16", None),
        step("screen/quantize", "ONNX Runtime", "int8", latency(2)),
    ],
    "models": {
        "teacher": {"name": "teacher/checkpoint"},
        "screen": {"name": "screen/quantize"},
        "cascade": {
            "accuracy": 0.91,
            "escalation_share": 0.125,
            "size_bytes": 4_000_000,
            "latency_ms": {"median_ms": 4.0},
            "promise": "certified",
        },
    },
    "goals": {"screen_min_speedup": 8, "cascade_max_drop_points": 0.2},
    "ratios": {"screen_speedup": 10.0, "cascade_drop_points": -1.0},
}


def test_each_step_has_a_row_with_its_ratio_to_the_teacher() -> None:
    lines = tables(SUMMARY).splitlines()
    assert lines[0] == (
        "**my-cascade** (holdout of 1,200 items; one thread of a CPU, medians of 100 alternating rounds with quartiles)"
    )
    assert "| **teacher/checkpoint** (teacher) | PyTorch fp32 | 90.00% | 2.0 | 20.00 (19.00 to 21.00) | 1.0 |" in lines
    assert "| **screen/quantize** (screen) | ONNX Runtime int8 | 90.00% | 2.0 | 2.00 (1.00 to 3.00) | 10.0 |" in lines
    assert "| **cascade** (12.5% escalated) | both | 91.00% | 4.0 | 4.00 expected | 5.0 |" in lines


def test_a_variant_for_a_gpu_says_so_where_there_is_none() -> None:
    assert "| expert/fuse-fp16 | ONNX Runtime fp16 | 90.00% | 2.0 | needs a GPU |  |" in tables(SUMMARY)


def test_goals_stand_beside_what_was_measured() -> None:
    text = tables(SUMMARY)
    assert "| screen, times as fast as the teacher | at least 8 | 10 |" in text
    assert "| cascade, points of accuracy below the expert | at most 0.2 | -1 |" in text
