"""Counts of a shadow that the processes of one server share: each writes a file of its own, and all are added up.

Nobody writes into the file of another, so no lock is needed, and what a process has counted outlives it. The folder is
the server's, so a restart of the whole server begins anew.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from serving.shadow.counts import Counts

COUNTS = TypeAdapter(Counts)

logger = logging.getLogger("sieve")


class SharedCounts:
    """The counts under one `name`, in `folder`; None for a process alone."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder, self._name = folder, name
        # A process that starts in the place of a dead one may get its id.
        self._own = None if folder is None else folder / f"{name}.{os.getpid()}-{secrets.token_hex(4)}.json"
        self._unwritten, self._turn = False, threading.Lock()
        self._numbers, self._written = count(1), 0

    def together(self, own: Counts) -> Callable[[], Counts]:
        """Number these counts, and return a function that writes them and adds those of the other processes.

        The function is for a thread, and returns the counts alone where it fails. Threads may come to their turn in
        another order than the event loop took the counts in: older ones never take the place of newer.
        """
        return partial(self._kept, next(self._numbers), own)

    def _kept(self, number: int, own: Counts) -> Counts:
        if self._folder is None or self._own is None:
            return own
        try:
            with self._turn:
                if number > self._written:
                    beside = self._own.with_suffix(".new")
                    beside.write_bytes(COUNTS.dump_json(own))
                    beside.replace(self._own)
                    self._written = number
            paths = [path for path in self._folder.glob(f"{self._name}.*.json") if path != self._own]
            others = [COUNTS.validate_json(path.read_bytes()) for path in paths]
        except (OSError, ValidationError) as error:
            if not self._unwritten:
                logger.warning("counts of a shadow are not shared between processes: %s", type(error).__name__)
            self._unwritten = True
            return own
        self._unwritten = False
        for other in others:
            own = own.plus(other)
        return own
