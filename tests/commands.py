"""Programs as a user runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def optimize(
    *arguments: object, home: Path | None = None, folder: Path | None = None, check: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m optimize` as a user does, in a process of its own; `variables` go into its environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    if home is not None:
        environment["BENTOML_HOME"] = str(home)
    command = [sys.executable, "-m", "optimize", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def interruptible() -> None:
    """For a process that a test will interrupt: background jobs of a shell are deaf to SIGINT, and hand it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
