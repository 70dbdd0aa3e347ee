"""The folder in which the processes of one server share their metrics.

BentoML names one folder for all servers of a home. Each server empties it when it starts (1.4.40,
`ensure_prometheus_dir` in bentoml/serving.py), also where another one still counts there, and even if it then finds its
port taken. So each server has a folder of its own beside that one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder, for `prometheus_client` too."""
PREFIX = "sieve-metrics-"
ALONE, HELD = f"{PREFIX}lock", "held"


def own_folder(variables: MutableMapping[str, str], server: int) -> Path | None:
    """A folder for the workers of `server`, a process id; `variables` name it from then on. None if they name none.

    This process holds the folder until it ends. Folders that nobody holds any more are removed.
    """
    given = variables.get(VARIABLE)
    if not given:
        return None
    try:
        folder = _held(Path(given).parent, server)
    except OSError:  # nothing may be written there, or no file be locked: BentoML's folder has to do
        return Path(given)
    variables[VARIABLE] = str(folder)
    return folder


def _held(home: Path, server: int) -> Path:
    folder = home / f"{PREFIX}{server}-{_started(server)}"
    with (home / ALONE).open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)  # until the folder is held, another process would take it for an old one
        folder.mkdir(exist_ok=True)
        # The kernel gives the lock back when the process ends, however it ends.
        fcntl.flock(os.open(folder / HELD, os.O_CREAT | os.O_RDWR), fcntl.LOCK_SH)
        for other in home.glob(f"{PREFIX}*-*"):
            if other != folder and not _is_held(other):
                shutil.rmtree(other, ignore_errors=True)
    return folder


def _is_held(folder: Path) -> bool:
    try:
        with (folder / HELD).open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # locked, or not ours to open
        return True
    return False


def _started(process: int) -> str:
    """When a process started, in the kernel's ticks: its id alone comes again, in a container with each restart."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
