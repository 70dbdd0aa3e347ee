"""Page-locked memory. CUDA's runtime cannot exist here, so a stand-in notes what it is told."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest

from serving.model import pinned as module
from serving.model.pinned import cuda_runtime, pinned


class Runtime:
    """CUDA's runtime, with what cudaHostRegister returns."""

    def __init__(self, registered: int = 0) -> None:
        self.registered, self.locked, self.gpus = registered, dict[int, int](), list[int]()

    def cudaSetDevice(self, gpu: int) -> int:  # noqa: N802 - its name in CUDA
        self.gpus.append(gpu)
        return 0

    def cudaHostRegister(self, address: ctypes.c_void_p, size: ctypes.c_size_t, flags: int) -> int:  # noqa: N802
        assert flags == 1
        assert address.value
        if self.registered == 0:
            self.locked[address.value] = size.value
        return self.registered

    def cudaHostUnregister(self, address: ctypes.c_void_p) -> int:  # noqa: N802
        assert address.value
        del self.locked[address.value]
        return 0


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    found = Runtime()
    monkeypatch.setattr(module, "cuda_runtime", lambda: found)
    return found


def test_pages_are_locked_until_the_array_is_gone(runtime: Runtime) -> None:
    arrays = [pinned((3, 5), "int64", 1) for _ in range(2)]
    assert runtime.gpus == [1, 1]
    assert sorted(runtime.locked) == sorted(array.ctypes.data for array in arrays)
    assert set(runtime.locked.values()) == {3 * 5 * 8}
    assert all(array.ctypes.data % 4096 == 0 for array in arrays), "no two share a page"
    arrays[0][:] = 7
    assert arrays[0].sum() == 105
    view = arrays[1][1:]
    del arrays
    gc.collect()
    assert list(runtime.locked) == [view.ctypes.data - 5 * 8], "a view keeps its array"
    del view
    gc.collect()
    assert runtime.locked == {}


def test_memory_that_cannot_be_locked_is_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Runtime(registered=2)
    monkeypatch.setattr(module, "cuda_runtime", lambda: full)
    array = pinned((2, 2), "float32", 0)
    assert (array.dtype, array.shape, array.sum()) == (np.float32, (2, 2), 0.0)
    del array
    gc.collect()  # what was not locked is not unlocked: the stand-in would raise


def test_nothing_is_locked_for_the_cpu(runtime: Runtime) -> None:
    array = pinned((2,), "float32", None)
    array[:] = 1
    assert (runtime.locked, runtime.gpus) == ({}, [])


def test_without_cuda_there_is_no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert cuda_runtime.__wrapped__() is None
