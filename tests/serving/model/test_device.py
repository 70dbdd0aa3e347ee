from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
import sys
from typing import Any

import pytest

from serving.errors import ProviderError
from serving.model import device
from serving.model.device import (
    AUTO,
    Gpus,
    Wanted,
    compute_capability,
    find_gpus,
    gpu_present,
    named,
    pci_bus_id,
    without_bfloat16,
)
from serving.settings import Settings
from tests.conftest import ROOT


class Driver:
    """CUDA's driver, with what its two calls return: 0 for success, 100 for no device."""

    def __init__(self, started: int, counted: int, devices: int) -> None:
        self.started, self.counted, self.devices = started, counted, devices

    def cuInit(self, flags: int) -> int:  # noqa: N802 - its name in the driver
        assert flags == 0
        return self.started

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802 - its name in the driver
        count._obj.value = self.devices
        return self.counted


@pytest.mark.parametrize(
    ("driver", "count", "against"),
    [
        (Driver(0, 0, 1), 1, ""),
        (Driver(0, 0, 8), 8, ""),
        (Driver(0, 0, 0), 0, "shows none to this process"),
        (Driver(100, 0, 1), 0, "cuInit gives 100"),
        (Driver(0, 3, 1), 0, "cuDeviceGetCount gives 3"),
        (None, 0, "no NVIDIA driver"),
    ],
    ids=["one", "eight", "none to be seen", "no device", "no count", "no driver"],
)
def test_cudas_driver_says_which_gpus_there_are_and_why_not(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, count: int, against: str
) -> None:
    def load(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)
    found = find_gpus.__wrapped__()
    assert found.count == count
    assert against in found.against
    assert bool(found.against) is not bool(found.count)


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_gpu_that_may_not_be_used_is_none(visible: str) -> None:
    """For optimize, for the service and for PyTorch alike."""
    code = "import torch; from serving.model.device import gpu_present as g; print(g(), torch.cuda.is_available())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": visible}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def having(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(device, "find_gpus", lambda: Gpus(count, "" if count else "nobody has plugged one in"))


@pytest.mark.parametrize(
    ("stated", "count", "got"),
    [
        ("auto", 0, ()),
        ("auto", 4, (0,)),
        ("cpu", 4, ()),
        ("gpu", 4, (0,)),
        ("gpu:3", 4, (3,)),
        ("gpu:0,2", 4, (0, 2)),
        ("gpu:1,1", 4, (1,)),
    ],
)
def test_a_setting_names_gpus(monkeypatch: pytest.MonkeyPatch, stated: str, count: int, got: tuple[int, ...]) -> None:
    having(monkeypatch, count)
    assert gpu_present() is (count > 0)
    assert Wanted(device=stated).gpus() == got


@pytest.mark.parametrize(
    ("stated", "count", "said"),
    [
        ("gpu", 0, r'^device = "gpu" needs a GPU, and nobody has plugged one in; mend the setting device'),
        ("gpu:2", 2, r"must name GPUs from 0 to 1, since this process may use 2, got 2"),
        ("gpu:0,5", 2, r"got 5"),
    ],
)
def test_a_gpu_that_is_demanded_and_cannot_be_had_is_an_error(
    monkeypatch: pytest.MonkeyPatch, stated: str, count: int, said: str
) -> None:
    having(monkeypatch, count)
    with pytest.raises(ProviderError, match=said):
        Wanted(device=stated).gpus()


def test_settings_say_where_experts_run() -> None:
    assert Wanted.of(Settings()) == AUTO
    settings = Settings(
        device="gpu:1",
        gpu_memory_mb=2_000,
        gpu_graphs=False,
        gpu_layout="nhwc",
        gpu_runtime="tensorrt",
        engine_folder="/engines",
        max_batch_size=96,
        max_batch_tokens=512,
    )
    of_gpu = Wanted(device="gpu:1", memory_mb=2_000, graphs=False, layout="nhwc", runtime="tensorrt")
    wanted = dataclasses.replace(of_gpu, engines="/engines", most_rows=96, most_tokens=512)
    assert Wanted.of(settings) == wanted
    assert Wanted.of(Settings(max_batch_size=4)).most_rows == 32
    assert [Wanted(device=stated).demands_gpu for stated in ("auto", "cpu", "gpu", "gpu:1")] == [
        False,
        False,
        True,
        True,
    ]


def test_places_have_names() -> None:
    assert [named(()), named((1,)), named((0, 1))] == ["cpu", "gpu:1", "gpu:0,1"]


def test_cudas_driver_says_where_a_gpu_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Placing(Driver):
        def cuDeviceGetPCIBusId(self, text: Any, size: int, gpu: int) -> int:  # noqa: N802 - its name in the driver
            text.value = f"00000000:{gpu}7:00.0".encode()
            return 0 if gpu < self.devices else 101

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Placing(0, 0, 2))
    assert pci_bus_id(1) == "00000000:17:00.0"
    with pytest.raises(OSError, match=r"where GPU 2 sits \(status 101\)"):
        pci_bus_id(2)


class Dated(Driver):
    """GPU 0 is a T4, GPU 1 an H100."""

    def cuDeviceGetAttribute(self, value: Any, attribute: int, gpu: int) -> int:  # noqa: N802 - its name in the driver
        value._obj.value = {75: (7, 9), 76: (5, 0)}[attribute][gpu] if gpu < 2 else 0
        return 0 if gpu < 2 else 101


def test_cudas_driver_says_whether_a_gpu_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Dated(0, 0, 2))
    monkeypatch.setattr(device, "compute_capability", compute_capability.__wrapped__)
    assert [compute_capability.__wrapped__(gpu) for gpu in (0, 1, 2)] == [(7, 5), (9, 0), (0, 0)]
    assert without_bfloat16((1,)) == without_bfloat16(()) == ""
    assert without_bfloat16((1, 0)) == "bfloat16 needs compute capability 8.0 (Ampere), and GPU 0 has 7.5"

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert compute_capability.__wrapped__(0) == (0, 0)
