"""What a build's figures depend on beside its recipe: versions of packages, and the processor."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

_PACKAGES = ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime-gpu", "neural-compressor")
_PACKAGES += ("torch-pruning", "tokenizers", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Version by package, as installed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def processor() -> str:
    """The processor's name where Linux tells it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
