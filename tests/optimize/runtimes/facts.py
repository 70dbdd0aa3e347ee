"""A comparison as it is written to runtimes.json."""

from __future__ import annotations

from typing import Any


def row(name: str, ms: float, speedup: float, **parity: Any) -> dict[str, Any]:
    times = {"median_ms": ms, "lower_quartile_ms": ms * 0.9, "upper_quartile_ms": ms * 1.2, "rounds": 9}
    held = {"items": 8, "max_gap": 0.0, "gap_share": 0.0, "tolerance": 1e-3, "other_labels": 0, "holds": True}
    return {
        "name": name,
        "start_ms": 1200.0,
        "version": "1",
        "memory_bytes": 40_000_000,
        "peak_bytes": 50_000_000,
        "parity": held | parity,
        "batches": {size: {**times, "speedup": speedup} for size in ("1", "8")},
    }


FACTS: dict[str, Any] = {
    "name": "made-screen",
    "variant": "cpu-fp32",
    "length": 32,
    "threads": 1,
    "alone": True,
    "load_average_before": 3.0,
    "runtimes": [
        row("ONNX Runtime", 4.0, 1.0),
        row("OpenVINO", 2.0, 2.0),
        row("Another", 1.0, 4.0, gap_share=0.4, other_labels=3, holds=False),
        {"name": "Apache TVM", "missing": "not installed"},
        {"name": "TensorRT", "failed": "its process ended by SIGSEGV"},
    ],
}
