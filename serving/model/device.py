"""Which GPUs this process may use, and where a model is to run."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Literal

from serving.errors import ProviderError
from serving.settings import MAX_BATCH_SIZE, MAX_BATCH_TOKENS, Settings

BFLOAT16_SINCE = (8, 0)
"""The first compute capability with bfloat16: Ampere."""
# Attributes of a device in cuda.h.
_MAJOR, _MINOR = 75, 76
NOT_ENOUGH = "mend the setting device, or CUDA_VISIBLE_DEVICES"


def rows_of(settings: Settings) -> int:
    """The rows that a session of an expert runs at once: more than by default where its calls have more items."""
    return max(MAX_BATCH_SIZE, settings.max_batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where a model is to run. `device` is as the setting says; GPUs count as CUDA shows them to this process.

    `memory_mb`: the most that one session takes of its GPU for activations and weights, 0 for no limit. `graphs`:
    record CUDA graphs, where the model allows them. `layout`: of the pixels of images, `auto` for the faster one.
    `runtime` runs graphs there, and `engines` is where TensorRT keeps what it compiles. `most_rows` and `most_tokens`
    bound the shapes that are prepared.
    """

    device: str = "auto"
    memory_mb: int = 0
    graphs: bool = True
    layout: Literal["auto", "nchw", "nhwc"] = "auto"
    runtime: Literal["cuda", "tensorrt"] = "cuda"
    engines: str = ""
    most_rows: int = MAX_BATCH_SIZE
    most_tokens: int = MAX_BATCH_TOKENS

    @classmethod
    def of(cls, settings: Settings) -> Wanted:
        """Where the settings want experts to run."""
        return cls(
            device=settings.device,
            memory_mb=settings.gpu_memory_mb,
            graphs=settings.gpu_graphs,
            layout=settings.gpu_layout,
            runtime=settings.gpu_runtime,
            engines=settings.engine_folder,
            most_rows=rows_of(settings),
            most_tokens=settings.max_batch_tokens,
        )

    @property
    def demands_gpu(self) -> bool:
        """Whether a CPU will not do."""
        return self.device.startswith("gpu")

    def gpus(self) -> tuple[int, ...]:
        """The numbers of the GPUs to use: none for `cpu`, or for `auto` on a machine without one.

        Raises ProviderError, with the reason, if a GPU that is demanded cannot be used.
        """
        if self.device == "cpu":
            return ()
        found = find_gpus()
        if self.device == "auto":
            return (0,) if found.count else ()
        if not found.count:
            raise ProviderError(f'device = "{self.device}" needs a GPU, and {found.against}; {NOT_ENOUGH}')
        numbers = self.device.partition(":")[2] or "0"
        wanted = tuple(dict.fromkeys(map(int, numbers.split(","))))
        if max(wanted) >= found.count:
            raise ProviderError(
                f'device = "{self.device}" must name GPUs from 0 to {found.count - 1}, since this process may use '
                f"{found.count}, got {max(wanted)}; {NOT_ENOUGH}"
            )
        return wanted


AUTO = Wanted()


@dataclass(frozen=True, slots=True)
class Gpus:
    """How many GPUs this process may use, and if none, why."""

    count: int
    against: str = ""


@functools.cache
def find_gpus() -> Gpus:
    """The NVIDIA GPUs that this process may use.

    CUDA's driver is asked, because it knows what CUDA_VISIBLE_DEVICES leaves of the machine's GPUs: none if it is empty
    or -1. ONNX Runtime cannot say: its GPU build lists CUDA as available everywhere, and prints an error when it fails.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpus(0, "this machine has no NVIDIA driver (libcuda.so.1)")
    if status := driver.cuInit(0):
        return Gpus(0, f"the NVIDIA driver shows none to this process (cuInit gives {status})")
    count = ctypes.c_int()
    if status := driver.cuDeviceGetCount(ctypes.byref(count)):
        return Gpus(0, f"the NVIDIA driver cannot count them (cuDeviceGetCount gives {status})")
    return Gpus(count.value, "" if count.value else "the NVIDIA driver shows none to this process")


def gpu_present() -> bool:
    """Whether this process may use an NVIDIA GPU."""
    return find_gpus().count > 0


def pci_bus_id(gpu: int) -> str:
    """Where a GPU of this process sits, as in 00000000:17:00.0, whatever CUDA_VISIBLE_DEVICES calls it.

    Raises OSError if CUDA's driver does not say.
    """
    driver, text = ctypes.CDLL("libcuda.so.1"), ctypes.create_string_buffer(32)
    if status := driver.cuInit(0) or driver.cuDeviceGetPCIBusId(text, len(text), gpu):
        raise OSError(f"the NVIDIA driver does not say where GPU {gpu} sits (status {status})")
    return text.value.decode()


@functools.cache
def compute_capability(gpu: int) -> tuple[int, int]:
    """The version of CUDA's architecture that a GPU of this process has, such as (9, 0); (0, 0) if nothing tells."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, 0
    major, minor = ctypes.c_int(), ctypes.c_int()
    told = (
        driver.cuInit(0)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, gpu)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, gpu)
    )
    return (0, 0) if told else (major.value, minor.value)


def without_bfloat16(gpus: tuple[int, ...]) -> str:
    """Which of these GPUs does not compute in bfloat16, in a sentence; empty if all do."""
    for gpu in gpus:
        have = compute_capability(gpu)
        if have < BFLOAT16_SINCE:
            least, got = (".".join(map(str, version)) for version in (BFLOAT16_SINCE, have))
            return f"bfloat16 needs compute capability {least} (Ampere), and GPU {gpu} has {got}"
    return ""


def named(gpus: tuple[int, ...]) -> str:
    """How people read of a place: `cpu`, `gpu:1`, `gpu:0,1`."""
    return f"gpu:{','.join(map(str, gpus))}" if gpus else "cpu"
