"""Through HTTP: the most goodput of a service whose every item goes to the expert, and how busy the GPU is then."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest.measuring.contender import Contender
from loadtest.traffic.plan import Plan
from loadtest.traffic.workload import Mix
from loadtest.verdict.objective import Objective

EVERY_S = 0.2


@dataclass(slots=True)
class Busy:
    """How busy the GPU was, as NVML says, at moments EVERY_S apart; none where NVML cannot be had."""

    shares: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """The mean share."""
        return round(sum(self.shares) / len(self.shares), 3) if self.shares else None


@contextmanager
def watching(nvml: Any | None) -> Iterator[Busy]:
    """Note in a thread how busy the first GPU is, as long as the block runs. `nvml` is the module pynvml, or None."""
    busy, end = Busy(), threading.Event()
    if nvml is None:
        yield busy
        return
    handle = nvml.nvmlDeviceGetHandleByIndex(0)

    def watch() -> None:
        while not end.wait(EVERY_S):
            busy.shares.append(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield busy
    finally:
        end.set()
        thread.join()


def started_nvml() -> Any | None:
    """NVIDIA's management library; None without the package or the library."""
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def through_http(
    line: tuple[str, ...], plan: Plan, *, images: bool, limit_ms: float, alone_per_s: float | None, folder: Path
) -> dict[str, Any]:
    """The highest goodput of the service that `line` starts, with p99 at `limit_ms`, where every item escalates.

    `alone_per_s`: items/s of the session alone, of which the goodput is a share.
    """
    mix = Mix(hard_share=1.0, image_share=1.0 if images else 0.0)
    contender = Contender(name="service", line=line)
    objective = Objective(limits_ms={"p99": limit_ms})
    with contender.served(replace(plan, mix=mix, budget_ms=limit_ms), objective, folder / "service.log") as subject:
        # Bisected from a rate near the one that is hoped for: a closed loop of one says little of a GPU's batches.
        start_per_s = max(subject.start_per_s, 0.5 * (alone_per_s or 0.0))
        with watching(started_nvml()) as busy:
            found = subject.highest(start_per_s, seed=plan.seed)
    goodput = found.goodput_per_s
    return {
        "p99_limit_ms": limit_ms,
        "goodput_per_s": round(goodput, 1),
        "rate_per_s": round(found.rate_per_s, 1),
        "share_of_session_alone": round(goodput / alone_per_s, 3) if alone_per_s else None,
        "gpu_busy_share": busy.mean,
        "runs": found.runs,
    }
