"""How far a run is: bars in a terminal; in a pipe or a log a line every 20 seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# In a pipe or a file rich would fall back to 80 columns, which the tables do not fit into.
console = Console(width=None if sys.stdout.isatty() else 120)

LINE_EVERY_S = 20.0


@dataclass(slots=True)
class Work:
    """Something that runs. `total` is None where nobody counts; `start` is what an earlier run had done."""

    title: str
    total: int | None = None
    start: int = 0
    done: int = field(init=False)
    begun_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.done = self.start

    def describe(self, now_s: float) -> str:
        """The title, how far it is, and an estimate of how long it will still take."""
        took_s = now_s - self.begun_s
        if self.total is None:
            return self.title
        if self.done == self.start:
            return f"{self.title} {self.done} of {self.total}, {took_s:.0f} s so far"
        left_s = took_s / (self.done - self.start) * (self.total - self.done)
        return f"{self.title} {self.done} of {self.total}, about {left_s:.0f} s left"


class Lines:
    """Prints a line for every `every_s` seconds that some work has run; pieces that follow each other add up."""

    def __init__(self, say: Callable[[str], None], every_s: float = LINE_EVERY_S) -> None:
        self._say = say
        self._every_s = every_s
        self._left_s = every_s
        self._running: list[Work] = []
        self._ended = threading.Event()

    @contextmanager
    def during(self, work: Work) -> Iterator[None]:
        """Tell of `work` while the block runs; inside the block of another, of both in one line."""
        self._running.append(work)
        outermost = len(self._running) == 1
        if outermost:
            self._ended.clear()
            thread = threading.Thread(target=self._repeat, daemon=True)
            thread.start()
        try:
            yield
        finally:
            if outermost:
                self._ended.set()
                thread.join()
            self._running.pop()

    def _repeat(self) -> None:
        begin_s = time.monotonic()
        while not self._ended.wait(self._left_s):
            begin_s, self._left_s = time.monotonic(), self._every_s
            self._say(self._line(begin_s))
        self._left_s = max(self._left_s - (time.monotonic() - begin_s), 0)

    def _line(self, now_s: float) -> str:
        running = list(self._running)
        line = ": ".join(work.describe(now_s) for work in running)
        if all(work.total is None for work in running):
            line += f", {now_s - running[0].begun_s:.0f} s so far"
        return line


_lines = Lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))


@contextmanager
def running(title: str, lines: Lines = _lines) -> Iterator[None]:
    """A part of a run that has a name and no count of its own."""
    if console.is_terminal:
        yield
    else:
        with lines.during(Work(title)):
            yield


@contextmanager
def progress(title: str, total: int, start: int = 0, lines: Lines = _lines) -> Iterator[Callable[[int], None]]:
    """Yield a function that tells of so many more steps done, of `total`."""
    if not console.is_terminal:
        work = Work(title, total, start)

        def count(steps: int) -> None:
            work.done += steps

        with lines.during(work):
            yield count
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, completed=start)
        yield lambda steps: bar.advance(task, steps)
