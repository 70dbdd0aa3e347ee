"""Runtimes that go wrong, each in its own way; in a file of their own, since a process imports them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from optimize.runtimes.candidate import Candidate, Run, Subject
from optimize.runtimes.onnx_runtime import OnnxRuntime
from serving.arrays import Array, Logits


@dataclass(frozen=True)
class Fake(Candidate):
    """ONNX Runtime that does `fault` when it is loaded, or with `later` at the batch of so many items."""

    fault: str = ""
    later: int | None = None

    @property
    def name(self) -> str:
        return f"fake, {self.fault or 'sound'}"

    def missing(self, subject: Subject) -> str | None:
        return "not installed; install it with `pip install nothing`" if self.fault == "missing" else None

    def version(self) -> str:
        return "1.0"

    def load(self, subject: Subject, threads: int) -> Run:
        run = OnnxRuntime().load(subject, threads)
        if self.later is None:
            self._do()

        def faulty(arrays: Mapping[str, Array]) -> Logits:
            if len(arrays["pixel_values"]) == self.later:
                self._do()
            logits = run(arrays)
            return logits + 1 if self.fault == "differs" else logits

        return faulty

    def _do(self) -> None:
        if self.fault == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.fault == "exits":
            os._exit(3)
        elif self.fault == "raises":
            raise ValueError("a traceback of many lines\n  File nobody.cc, line 7\nno kernel for it\n")
        elif self.fault == "hangs":
            time.sleep(60)
