"""Texts that are gathered part by part: a list while they are few, and else a file that is read where it lies.

The file has no name and goes with the process. Its pages are the operating system's to keep or to drop, so the texts of
a data set may be many times as large as memory.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPILLED_CHARACTERS = 4_000_000
"""What may stand in memory; 50,000 short messages do."""

Texts = Sequence[str | None]


class StoredTexts(Sequence[str | None]):
    """Texts whose UTF-8 lies in `data`, None where there is none.

    `bounds` are where each begins, and where the last one ends.
    """

    def __init__(self, data: mmap.mmap, bounds: array[int], missing: frozenset[int]) -> None:
        self._data, self._bounds, self._missing = data, bounds, missing

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        place = range(len(self))[place]
        if place in self._missing:
            return None
        return self._data[self._bounds[place] : self._bounds[place + 1]].decode("utf-8", "surrogatepass")


class GrowingTexts:
    """Texts to which more are added; SPILLED_CHARACTERS at a time go to a file in `folder`, or where such files go."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: list[str | None] = []
        self._characters = 0
        self._file: Any = None
        self._bounds = array("q", [0])
        self._missing: set[int] = set()

    def extend(self, texts: Texts) -> None:
        """Add texts."""
        self._held += texts
        self._characters += sum(len(text) for text in texts if text)
        if self._characters > SPILLED_CHARACTERS:
            self._spill()

    def done(self) -> Texts:
        """All texts in order."""
        if self._file is None:
            return self._held
        self._spill()
        self._file.flush()
        # The map is shared and read-only, so it counts as no memory of the process.
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()
        return StoredTexts(mapped, self._bounds, frozenset(self._missing))

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - it is written to until `done`
        end = self._bounds[-1]
        for text in self._held:
            if text is None:
                self._missing.add(len(self._bounds) - 1)
            else:
                end += self._file.write(text.encode("utf-8", "surrogatepass"))
            self._bounds.append(end)
        self._held, self._characters = [], 0
