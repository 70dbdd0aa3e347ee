"""What the verbs of the command line share: exit statuses, the options of a plan, the folder of the results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Protocol

from loadtest.errors import OptionError
from loadtest.options import add_workload

EXIT_PASSED, EXIT_FAILED, EXIT_WRONG, EXIT_INVALID, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
OUT = Path("build/loadtest")


class AddsVerb(Protocol):
    """What argparse's `add_subparsers` gives."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser: ...


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options of the workload and of the results' folder."""
    add_workload(parser)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")


def make_folder(folder: Path) -> None:
    """Make the folder of the results before anything is measured; OptionError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise OptionError(f"--out {folder}: must be a folder that can be written, got {got}; name another") from None
