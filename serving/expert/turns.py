"""Turns of threads, in order of arrival. A `threading.Semaphore` lets any of its waiters go first."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A semaphore for `with` that `most` threads have at a time; those that wait get it as they came."""

    def __init__(self, most: int = 1) -> None:
        self._guard, self._free = threading.Lock(), most
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if self._free:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # until the one before passes the turn on

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
