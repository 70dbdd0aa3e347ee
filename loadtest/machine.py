"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TypedDict


class Machine(TypedDict):
    """What figures depend on; it holds no host name."""

    cores: int | None
    processor: str
    python: str


def machine() -> Machine:
    """Cores, processor and Python of this machine."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    return {"cores": os.cpu_count(), "processor": model or platform.machine(), "python": platform.python_version()}
