"""Digests of files that were read before, so that a run that goes on need not read a million images again.

A digest is that of a path, a size and a time of the last change. Where one of them is another, nothing is known.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from optimize.data.groups import key_of

RECORD = np.dtype([("key", "<u8"), ("sha256", "V32")])
NAME = "image-files.known"


class KnownFiles:
    """The digests of files; `folder` keeps them for the next run."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder and folder / NAME
        there = self._path if self._path is not None and self._path.exists() else None
        self._records = np.empty(0, RECORD) if there is None else np.fromfile(there, RECORD)
        self._new: dict[int, bytes] = {}

    def digest(self, key: int | None) -> bytes | None:
        """The digest of the file with this key, from an earlier run; None where it is not known."""
        if key is None:
            return None
        place = int(np.searchsorted(self._records["key"], np.uint64(key)))
        if place == len(self._records) or int(self._records["key"][place]) != key:
            return None
        sha256: bytes = self._records["sha256"][place].tobytes()
        return sha256

    def add(self, key: int | None, sha256: bytes) -> None:
        """Keep the digest of a file whose key was made before it was read; threads may call this."""
        if key is not None:
            self._new[key] = sha256

    def save(self) -> None:
        """Write what was added. A run that is stopped meanwhile leaves the old records or the new ones."""
        if self._path is None or not self._new:
            return
        new = np.array(list(self._new.items()), RECORD)
        every = np.concatenate([self._records[~np.isin(self._records["key"], new["key"])], new])
        beside = self._path.with_suffix(".new")
        every[np.argsort(every["key"])].tofile(beside)
        beside.replace(self._path)


def file_key(content: object) -> int | None:
    """A key of a file's path, size and time of change; None for what is no file of its own, or is not there."""
    if not isinstance(content, Path):
        return None
    try:
        found = content.stat()
    except OSError:
        return None
    stated = f"{os.path.abspath(content)}\n{found.st_size}\n{found.st_mtime_ns}"
    return key_of(stated.encode("utf-8", "surrogateescape"))
