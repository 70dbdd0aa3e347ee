"""What is known of this machine's CPU: its name, and the instructions that decide how INT8 is computed."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm", "sve")
"""Linux's names of what ONNX Runtime chooses its kernels by."""


def processor() -> str:
    """The processor's model name on Linux, elsewhere what Python knows of it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def features() -> tuple[str, ...]:
    """Which of FEATURES this CPU has; empty where Linux does not say so."""
    has = set((_cpu_info("flags") or _cpu_info("Features")).split())
    return tuple(name for name in FEATURES if name in has)


def has_vnni() -> bool:
    """Whether the processor multiplies uint8 by int8 without saturating; False where Linux does not say so."""
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(features())


def _cpu_info(field: str) -> str:
    """A field of the first processor on Linux; empty elsewhere."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
