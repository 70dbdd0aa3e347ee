"""Progress bars: shown in a terminal, quiet elsewhere (CI, pipes), where the run's own lines are enough."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# In a pipe or a file rich would fall back to 80 columns, which the tables do not fit into.
console = Console(width=None if sys.stdout.isatty() else 120)


@contextmanager
def progress(title: str, total: int, start: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by so many steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, completed=start)
        yield lambda steps: bar.advance(task, steps)
