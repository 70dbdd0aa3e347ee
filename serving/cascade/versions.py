"""Which version of each cascade the processes of one server are to serve, and which ones each of them serves.

The processes share a folder. One of them takes the wish of an operator, the others read it from a file there. Each has
a file of its own that says what it serves. A process that starts in the place of one that has died takes the same
versions.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

WANTED, LOCK, SERVED = "versions.json", "versions.lock", "serves-"


class Wanted(NamedTuple):
    """The version of a cascade, and the one of its expert."""

    version: str
    expert: str


class Versions:
    """The versions by the names of their cascades, in `folder`; None for one process alone."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._alone: dict[str, Wanted] = {}

    def wanted(self) -> dict[str, Wanted]:
        """The versions that operators have asked for; of other cascades the one of the start is served."""
        if self.folder is None:
            return self._alone
        return {name: Wanted(*stated) for name, stated in _read(self.folder / WANTED).items()}

    def want(self, name: str, version: str, expert: str) -> None:
        """Have all processes serve this version, whose expert is stored under the version `expert`."""
        if self.folder is None:
            self._alone[name] = Wanted(version, expert)
            return
        with (self.folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _write(self.folder / WANTED, {**_read(self.folder / WANTED), name: (version, expert)})

    def serves(self, versions: Mapping[str, str]) -> None:
        """Say what this process serves."""
        if self.folder is not None:
            _write(self.folder / f"{SERVED}{os.getpid()}.json", versions)

    def served(self, name: str) -> list[str]:
        """The version of a cascade in each process that lives."""
        if self.folder is None:
            return [self._alone[name].version] if name in self._alone else []
        own = (_read(path) for path in self.folder.glob(f"{SERVED}*.json") if _lives(path))
        return [versions[name] for versions in own if name in versions]


def _lives(path: Path) -> bool:
    return Path(f"/proc/{path.stem.removeprefix(SERVED)}").exists()


def _read(path: Path) -> dict[str, Any]:
    try:
        versions: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return versions


def _write(path: Path, versions: Mapping[str, object]) -> None:
    """Write a file beside `path`, then rename it: nobody reads half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(orjson.dumps(versions))
    beside.replace(path)
