"""What is known of this machine's CPU: its name, its instructions for INT8, and how many cores this process may use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from serving.memory import ReadText, cgroup_folders, read_text

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


def cores(read: ReadText = read_text) -> int:
    """How many cores this process may use: those that it is bound to, and what its cgroup and those above it allow."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *_quotas(read)]))


def _quotas(read: ReadText) -> Iterator[int]:
    for folder in cgroup_folders(read, "cpu"):
        # In v2 one file holds both numbers, in v1 each has its own. Without a limit: "max", or -1.
        quota, _, period = (read(f"{folder}/cpu.max") or "").partition(" ")
        quota, period = (
            quota or read(f"{folder}/cpu.cfs_quota_us") or "",
            period or read(f"{folder}/cpu.cfs_period_us") or "",
        )
        if quota.strip().isdigit() and period.strip().isdigit() and int(period):
            yield math.ceil(int(quota) / int(period))


def _cpu_info(field: str) -> str:
    """A field of the first processor on Linux; empty elsewhere."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
