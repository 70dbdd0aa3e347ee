"""How busy and how full the GPUs of an expert are, and what power they draw, as NVIDIA's management library says."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from serving.model.device import pci_bus_id

EVERY_S = 5.0
"""NVML's own figure of utilisation is that of the last second or less."""
MISSING = "nvidia-ml-py is not installed; install it with `pip install '.[gpu]'` for metrics of GPUs"

logger = logging.getLogger("sieve")


class GpuMetrics:
    """Reads GPUs into gauges, each time that `sample` is called. `nvml` is the module pynvml, or has its functions.

    `bus_ids` are the PCI addresses of the GPUs, by which NVML and CUDA agree; their numbers may differ. Raises the
    NVMLError of a library that cannot be started, or that does not know one of the GPUs.
    """

    def __init__(self, bus_ids: Sequence[str], nvml: Any) -> None:
        from prometheus_client import Gauge

        def gauge(name: str, says: str) -> Gauge:
            # Experts on one GPU all say the same of it.
            return Gauge(name, says, ("gpu",), multiprocess_mode="livemax")

        self._nvml = nvml
        nvml.nvmlInit()
        self._handles = {bus_id: nvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode()) for bus_id in bus_ids}
        busy = gauge("sieve_gpu_busy_share", "Share of the time in which the GPU ran a kernel")
        used = gauge("sieve_gpu_memory_used_bytes", "Memory of the GPU that is taken, by all processes")
        there = gauge("sieve_gpu_memory_bytes", "Memory of the GPU")
        power = gauge("sieve_gpu_power_watts", "Power that the GPU draws")
        self._readings: list[tuple[Gauge, Callable[[Any], float]]] = [
            (busy, lambda handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            (used, lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).used),
            (there, lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).total),
            (power, lambda handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3),
        ]

    def sample(self) -> None:
        """Read each GPU. What one of them does not tell, such as the power of a part of a GPU, keeps no value."""
        for bus_id, handle in self._handles.items():
            for gauge, read in self._readings:
                try:
                    value = read(handle)
                except self._nvml.NVMLError:
                    continue
                gauge.labels(gpu=bus_id).set(value)

    def follow(self) -> None:
        """Sample every EVERY_S in a thread, for as long as the process runs."""
        threading.Thread(target=self._follow, name="gpu", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while True:
            self.sample()
            pause.wait(EVERY_S)


def watch_gpus(gpus: Sequence[int]) -> GpuMetrics | None:
    """Keep the metrics of these GPUs up to date, or say in the log why that cannot be; nothing where there are none."""
    if not gpus:
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        logger.warning(MISSING)
        return None
    try:
        metrics = GpuMetrics([pci_bus_id(gpu) for gpu in gpus], nvml)
    except (OSError, nvml.NVMLError) as error:
        logger.warning("there are no metrics of GPUs: NVML says %s", error)
        return None
    metrics.follow()
    return metrics
