"""Live progress of a run on a terminal; it prints nothing where the output is a file."""

from __future__ import annotations

import time
from collections import Counter, deque
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.traffic.reply import Reply
from loadtest.verdict.percentiles import percentile

console = Console()
EVERY_S = 0.5
LATEST = 2_000


class Live:
    """A bar with the replies so far and the p99 of the LATEST answers; drawn at most every EVERY_S seconds."""

    def __init__(self, title: str, total: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=2)
        self._task = self._progress.add_task(title, total=total, said="")
        self._kinds: Counter[str] = Counter()
        self._latest: deque[float] = deque(maxlen=LATEST)
        self._drawn_s = 0.0

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._draw()
        self._progress.stop()

    def observe(self, reply: Reply) -> None:
        """Count one reply."""
        if self._progress.disable:
            return
        self._kinds[reply.kind] += 1
        if reply.answered:
            self._latest.append(reply.latency_ms)
        now = time.monotonic()
        if now - self._drawn_s > EVERY_S:
            self._drawn_s = now
            self._draw()

    def _draw(self) -> None:
        said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self._kinds.items()))
        p99 = f"  p99 of the latest answers {percentile([*self._latest], 0.99):.1f} ms" if self._latest else ""
        self._progress.update(self._task, completed=sum(self._kinds.values()), said=said + p99)
