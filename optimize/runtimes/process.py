"""A runtime in a process of its own: memory and start are its alone, and if it crashes, only its row is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from optimize.errors import RuntimesError
from optimize.runtimes.candidate import Candidate, Run, Subject
from serving.arrays import Array, Logits
from serving.errors import SieveError

Arrays = Mapping[str, Array]
_REASON_CHARACTERS = 200


class Apart:
    """A candidate that runs in its own process. Each method raises RuntimesError with the reason if that fails.

    `wait_s`: how long one answer may take.
    """

    def __init__(self, candidate: Candidate, subject: Subject, *, threads: int, wait_s: float) -> None:
        self._wait_s = wait_s
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, candidate, subject, threads), daemon=True)
        self._process.start()
        theirs.close()

    def start(self, batches: Mapping[int, Arrays]) -> dict[str, Any]:
        """Import the runtime, load the graph and run the smallest of `batches`: `start_ms`, and the `version`.

        `batches` are kept there by their size, for `time`.
        """
        started: dict[str, Any] = self._ask("start", batches)
        return started

    def logits(self, arrays: Arrays) -> Logits:
        """The logits of one batch."""
        found: Logits = self._ask("logits", arrays)
        return found

    def time(self, batch_size: int) -> float:
        """Milliseconds of a batch, right after the same batch untimed: what others left in the caches is gone."""
        took: float = self._ask("time", batch_size)
        return took

    def memory(self) -> dict[str, int]:
        """`memory_bytes` that the process holds more than before the runtime was imported, and `peak_bytes`."""
        grown: dict[str, int] = self._ask("memory", None)
        return grown

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _ask(self, verb: str, argument: Any) -> Any:
        try:
            self._connection.send((verb, argument))
            if not self._connection.poll(self._wait_s):
                raise RuntimesError(f"gave no answer within {self._wait_s:g} s; give it more with --wait")
            done, answer = self._connection.recv()
        except (EOFError, OSError):
            raise RuntimesError(f"its process ended {self._ended()}") from None
        if not done:
            raise RuntimesError(answer)
        return answer

    def _ended(self) -> str:
        self._process.join()
        status = self._process.exitcode or 0
        return f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"


def _serve(connection: Connection, candidate: Candidate, subject: Subject, threads: int) -> None:
    """Answer requests until the other side is gone; the work of the process."""
    _silence()
    asked = _Asked(candidate, subject, threads)
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            verb, argument = connection.recv()
            try:
                answer = True, getattr(asked, verb)(argument)
            except Exception as error:  # noqa: BLE001  # whatever a runtime raises is the reason in its row
                answer = False, reason_of(error)
            connection.send(answer)


class _Asked:
    """What the process does when it is asked; methods are those of `Apart`."""

    def __init__(self, candidate: Candidate, subject: Subject, threads: int) -> None:
        self._candidate, self._subject, self._threads = candidate, subject, threads
        self._before = _memory_of("VmRSS")
        self._run: Run | None = None
        self._batches: Mapping[int, Arrays] = {}

    def start(self, batches: Mapping[int, Arrays]) -> dict[str, Any]:
        self._batches = batches
        begin_s = time.perf_counter()
        self._run = self._candidate.load(self._subject, self._threads)
        self.logits(batches[min(batches)])
        return {"start_ms": (time.perf_counter() - begin_s) * 1e3, "version": self._candidate.version()}

    def logits(self, arrays: Arrays) -> Logits:
        assert self._run is not None, "asked before it was started"
        return self._run(arrays)

    def time(self, batch_size: int) -> float:
        arrays = self._batches[batch_size]
        self.logits(arrays)
        begin_s = time.perf_counter()
        self.logits(arrays)
        return (time.perf_counter() - begin_s) * 1e3

    def memory(self, _: None) -> dict[str, int]:
        return {"memory_bytes": _memory_of("VmRSS") - self._before, "peak_bytes": _memory_of("VmHWM") - self._before}


def reason_of(error: Exception) -> str:
    """Why a runtime failed, in one line: many texts begin with where in the source it was, and end with the reason."""
    if isinstance(error, SieveError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((line for line in reversed(lines) if line), "")
    return f"{type(error).__name__}: {said}"[:_REASON_CHARACTERS] if said else type(error).__name__


def _silence() -> None:
    """Runtimes print warnings from C++, in the middle of a table."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)


def _memory_of(field: str) -> int:
    """A figure of this process's memory in bytes, by Linux's name; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
