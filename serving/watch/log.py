"""Writes the log of requests in a thread: a collector that reads slowly must not hold the event loop."""

from __future__ import annotations

import atexit
import queue
import sys
import threading
import time
from typing import TextIO

MOST_WAITING = 10_000
"""Lines that may wait to be written; those beyond are left out, and the log says how many."""
PAUSE_S = 0.05
"""Lines of so long are written together."""


class LogWriter:
    """Takes lines from an event loop, and writes them to `out` soon, by default to standard output.

    The last ones are written at the process's end.
    """

    def __init__(self, out: TextIO | None = None, most_waiting: int = MOST_WAITING) -> None:
        self._out, self._most_waiting = out or sys.stdout, most_waiting
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="request log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Write a line, which ends with a line feed, or leave it out if too many wait."""
        if self._lines.qsize() < self._most_waiting:
            self._lines.put(line)
        else:
            self._left_out += 1

    def close(self) -> None:
        """Write what waits, then end."""
        self._lines.put(None)
        self._thread.join(timeout=1.0)
        atexit.unregister(self.close)

    def _write_all(self) -> None:
        open_ = True
        while open_:
            lines = [self._lines.get()]
            while not self._lines.empty():
                lines.append(self._lines.get())
            open_ = None not in lines
            left_out, self._left_out = self._left_out, 0
            if left_out:
                lines.append(f'{{"lines_left_out": {left_out}}}\n')
            self._out.write("".join(line for line in lines if line is not None))
            self._out.flush()
            if open_:
                time.sleep(PAUSE_S)
