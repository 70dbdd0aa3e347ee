"""Turns of threads: one after the other, in order of arrival. A `threading.Lock` lets any of its waiters go first."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock for `with` whose waiters get it in the order in which they came."""

    def __init__(self) -> None:
        self._guard, self._taken = threading.Lock(), False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
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
                self._taken = False
