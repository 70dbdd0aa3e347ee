"""Versions of the packages and the name of the processor, which figures depend on beside the recipe."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

_PACKAGES = (
    *("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime-gpu", "neural-compressor"),
    *("torch-pruning", "tokenizers", "numpy", "pillow"),
)


def versions() -> dict[str, str]:
    """Version by package, as installed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def processor() -> str:
    """The processor's model name on Linux, elsewhere what Python knows of it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
