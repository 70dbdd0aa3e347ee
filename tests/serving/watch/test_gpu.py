"""Metrics of GPUs. There is no GPU here, so a stand-in has the functions of NVML that are called."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from serving.model.device import gpu_present
from serving.watch import gpu as module
from serving.watch.gpu import MISSING, GpuMetrics, watch_gpus
from tests.serving.conftest import sample

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: the extra gpu")

BUS_IDS = ["00000000:17:00.0", "00000000:65:00.0"]


class Nvml:
    """NVML with two GPUs, of which the second tells no power; its errors are NVML's own."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.started, self.busy = 0, {BUS_IDS[0]: 75, BUS_IDS[1]: 0}

    def nvmlInit(self) -> None:  # noqa: N802 - its name in NVML
        self.started += 1

    def nvmlDeviceGetHandleByPciBusId(self, bus_id: bytes) -> str:  # noqa: N802
        assert self.started
        if bus_id.decode() not in self.busy:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return bus_id.decode()

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self.busy[handle], memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(total=80 * 1024**3, used=3 * 1024**3, free=77 * 1024**3)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        if handle == BUS_IDS[1]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 312_500


def test_each_gpu_has_its_values_and_none_where_it_tells_none(clean_registry: None) -> None:
    nvml = Nvml()
    metrics = GpuMetrics(BUS_IDS, nvml)
    metrics.sample()
    first, second = BUS_IDS
    assert sample("sieve_gpu_busy_share", gpu=first) == 0.75
    assert sample("sieve_gpu_memory_used_bytes", gpu=first) == 3 * 1024**3
    assert sample("sieve_gpu_memory_bytes", gpu=second) == 80 * 1024**3
    assert sample("sieve_gpu_power_watts", gpu=first) == 312.5
    assert REGISTRY.get_sample_value("sieve_gpu_power_watts", {"gpu": second}) is None
    nvml.busy[second] = 100
    metrics.sample()
    assert sample("sieve_gpu_busy_share", gpu=second) == 1.0


def test_a_gpu_that_nvml_does_not_know_is_an_error(clean_registry: None) -> None:
    with pytest.raises(pynvml.NVMLError):
        GpuMetrics(["00000000:99:00.0"], Nvml())


def test_the_functions_are_those_of_nvml() -> None:
    called = [name for name in vars(Nvml) if name.startswith("nvml")]
    assert len(called) == 5
    for name in called:
        assert callable(getattr(pynvml, name)), name


def test_without_gpus_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it would fail
    assert watch_gpus(()) is None


def test_without_the_package_the_log_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert watch_gpus((0,)) is None
    assert [record.getMessage() for record in logged] == [MISSING]


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_without_the_library_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord], clean_registry: None
) -> None:
    """NVML itself is asked, and is not there."""
    monkeypatch.setattr(module, "pci_bus_id", lambda gpu: BUS_IDS[gpu])
    assert watch_gpus((0,)) is None
    (record,) = logged
    assert record.getMessage().startswith("there are no metrics of GPUs: NVML says ")


def test_values_are_kept_up_to_date(monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> None:
    import threading

    nvml, again = Nvml(), threading.Semaphore(0)
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    monkeypatch.setattr(module, "pci_bus_id", lambda gpu: BUS_IDS[gpu])
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    read = nvml.nvmlDeviceGetUtilizationRates
    monkeypatch.setattr(nvml, "nvmlDeviceGetUtilizationRates", lambda handle: (again.release(), read(handle))[1])
    metrics = watch_gpus((0,))
    assert metrics is not None
    assert all(again.acquire(timeout=60) for _ in range(3))
    assert sample("sieve_gpu_busy_share", gpu=BUS_IDS[0]) == 0.75
