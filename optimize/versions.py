"""Versions of the packages and the name of the processor, which figures depend on beside the recipe."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

_PACKAGES = (
    *("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime-gpu", "neural-compressor"),
    *("torch-pruning", "tokenizers", "numpy", "pillow"),
)
CPU_INFO = Path("/proc/cpuinfo")


def versions() -> dict[str, str]:
    """Version by package, as installed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def processor() -> str:
    """The processor's model name on Linux, elsewhere what Python knows of it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def has_vnni() -> bool:
    """Whether the processor multiplies uint8 by int8 without saturating; False where Linux does not say so."""
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(_cpu_info("flags").split())


def _cpu_info(field: str) -> str:
    """A field of the first processor on Linux; empty elsewhere."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
