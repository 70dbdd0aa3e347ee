"""What is done of a table, beside its OUT: one file a chunk, and what they were made from, so that a run can go on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
from filelock import FileLock, Timeout

from optimize.errors import ScoreError
from serving.model.artifact import write_json

MADE_FROM = "made-from.json"
WHAT = {
    "input": "the input has changed",
    "cascade": "another version of the cascade was published, or other variants run here",
    "options": "the options are others",
    "rows": "another version of Sieve cuts the input otherwise",
}
"""What differs between two runs, by the key of MADE_FROM."""


class Parts:
    """The finished chunks of one run, in order. Make one with `opened`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.done = 0
        while self._path(self.done).exists():
            self.done += 1

    @classmethod
    @contextmanager
    def opened(cls, out: Path, made_from: Mapping[str, Any]) -> Iterator[Parts]:
        """The parts of `out`, which nobody else works on meanwhile.

        Raises ScoreError if parts are there that were made from something else.
        """
        folder = folder_of(out)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                _require_same(folder, made_from)
                yield cls(folder)
        except Timeout:
            raise ScoreError(f"another run scores into {out}; wait for it, or name another OUT") from None

    def add(self, table: pyarrow.Table) -> None:
        """Keep the next chunk. It is there whole or not at all."""
        path = self._path(self.done)
        beside = path.with_suffix(".partial")
        options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
        with pyarrow.OSFile(str(beside), "wb") as file, pyarrow.ipc.new_file(file, table.schema, options=options) as to:
            to.write_table(table)
        os.replace(beside, path)
        self.done += 1

    def schemas(self) -> list[Any]:
        """The columns of each part."""
        return [opened.schema for opened in self._opened()]

    def tables(self) -> Iterator[pyarrow.Table]:
        """The parts in order, one in memory at a time."""
        return (opened.read_all() for opened in self._opened())

    def remove(self) -> None:
        """Remove the parts, since OUT is there."""
        shutil.rmtree(self._folder)

    def _opened(self) -> Iterator[Any]:
        for number in range(self.done):
            with pyarrow.memory_map(str(self._path(number))) as file:
                yield pyarrow.ipc.open_file(file)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.arrow"


def folder_of(out: Path) -> Path:
    """Where the parts of `out` lie."""
    return out.with_name(f"{out.name}.parts")


def _require_same(folder: Path, made_from: Mapping[str, Any]) -> None:
    path = folder / MADE_FROM
    if not path.exists():
        write_json(path, made_from)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    differ = [said for key, said in WHAT.items() if before.get(key) != made_from.get(key)]
    if differ:
        raise ScoreError(
            f"{folder} holds a part of another run: since then {' and '.join(differ)}; remove the folder to begin "
            "anew, or name another OUT"
        )
