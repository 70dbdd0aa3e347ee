"""A timer for the event loop with a precision of about ten microseconds.

The loop's own timers count in whole milliseconds, so all requests due within one millisecond would leave together. Such
bursts are not Poisson, and they would make queues in the service that real users do not cause.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from types import TracebackType

# linux/time.h and linux/timerfd.h; Python's own os.timerfd_create comes with 3.13.
HAS_TIMERFD = sys.platform == "linux"
CLOCK_MONOTONIC, TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME = 1, os.O_NONBLOCK, os.O_CLOEXEC, 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Waits for one moment of `time.monotonic` at a time, inside a running event loop.

    Uses timerfd_create(2) on Linux and the loop's own timers elsewhere.
    """

    def __enter__(self) -> Timer:
        self._fd = -1
        if HAS_TIMERFD:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
            if self._fd < 0:
                raise OSError(ctypes.get_errno(), "no timer of the kernel's")
            self._due: asyncio.Future[None] | None = None
            asyncio.get_running_loop().add_reader(self._fd, self._expired)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)

    async def until(self, moment_s: float) -> None:
        """Return at `moment_s`, never earlier; at once when it has passed."""
        while (left_s := moment_s - time.monotonic()) > 0:
            if self._fd < 0:
                await asyncio.sleep(left_s)
                continue
            nanoseconds = int(moment_s * 1e9) + 1
            spec = _Itimerspec(_Timespec(0, 0), _Timespec(nanoseconds // 10**9, nanoseconds % 10**9))
            self._due = asyncio.get_running_loop().create_future()
            if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
                raise OSError(ctypes.get_errno(), "the kernel's timer cannot be set")
            await self._due

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # the timer was set again after it expired
            return
        if self._due is not None and not self._due.done():
            self._due.set_result(None)
