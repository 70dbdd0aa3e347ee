"""Host memory that a GPU copies from and to by itself, without a detour: page-locked ("pinned") buffers."""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
import weakref
from typing import Any

import numpy as np

from serving.arrays import Array

RUNTIMES = ("libcudart.so.13", "libcudart.so.12")
_PORTABLE = 1  # cudaHostRegisterPortable: pinned for every GPU of this process


@functools.cache
def cuda_runtime() -> Any | None:
    """CUDA's runtime library, which ONNX Runtime has loaded once a session on CUDA is open; None without it."""
    for name in RUNTIMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def pinned(shape: tuple[int, ...], dtype: str, gpu: int | None) -> Array:
    """An array of zeros. Its pages are locked in memory if `gpu` names a GPU and CUDA can do so.

    Where it cannot, for want of locked memory (`ulimit -l`) say, copies are slower and nothing else changes.
    """
    kind = np.dtype(dtype)
    count = math.prod(shape)
    # Pages of its own: memory that shares a page with another buffer cannot be locked twice.
    pages = mmap.mmap(-1, max(1, count * kind.itemsize))
    array = np.frombuffer(pages, dtype=kind, count=count).reshape(shape)
    cuda = None if gpu is None else cuda_runtime()
    if cuda is not None:
        address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        if cuda.cudaSetDevice(gpu) == 0 and cuda.cudaHostRegister(address, size, _PORTABLE) == 0:
            weakref.finalize(pages, cuda.cudaHostUnregister, address)
    return array
