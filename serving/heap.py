"""The C library's heap: what a model took goes back to the system when the model is gone.

glibc gives a block of 128 kB or more a mapping of its own, which ends with it. But once such a block was freed, it puts
blocks of that size, up to 32 MB, into its heaps. A heap gives back its end alone, and each thread that opens a model
has another one: after some models were opened and closed, a process held as much again as two of them.
Sources: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
APART_BYTES = 128 * 1024
USUAL_BYTES, USUAL_TRIM_BYTES = 32 << 20, 64 << 20
"""What glibc itself takes once it has freed a block of 32 MB."""

_libc = ctypes.CDLL(None)
_opening = ThreadPoolExecutor(1, thread_name_prefix="opening")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def in_one_heap(
    work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Open a model without holding the event loop, always in the same thread, one after the other.

    What little stays in the heap of a thread is used again by the next one, and not left in one heap after the other.
    """
    return await asyncio.wrap_future(_opening.submit(work, *arguments, **named))


def in_one_heap_now(work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """The same for a start, which may hold the event loop: the first models share the heap of those that follow.

    Work that runs in that thread must not call it; it would wait for itself.
    """
    return _opening.submit(work, *arguments, **named).result()


@contextmanager
def mapped_apart() -> Iterator[None]:
    """Give each large block that is taken meanwhile a mapping of its own. Another C library than glibc is left alone.

    It holds for all threads, and costs them a system call for each such block: for opening models, not for requests.
    """
    _set(APART_BYTES, USUAL_TRIM_BYTES)
    try:
        yield
    finally:
        _set(USUAL_BYTES, USUAL_TRIM_BYTES)


def give_back() -> None:
    """Give back to the system all whole pages that are free. Takes milliseconds, and lets other threads run."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def _set(mapped_bytes: int, trimmed_bytes: int) -> None:
    if hasattr(_libc, "malloc_trim"):  # musl has a mallopt that does nothing, and macOS has neither
        _libc.mallopt(M_MMAP_THRESHOLD, mapped_bytes)
        _libc.mallopt(M_TRIM_THRESHOLD, trimmed_bytes)
