"""The token ids of a split, one after the other: in memory, or in files that are read where they lie.

A split of two million texts has gigabytes of ids, so no list holds an array for each text. The files are written in
chunks, and a run that was stopped goes on after the last whole chunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.progress import progress
from serving.arrays import Array
from serving.model.windows import length_of, rows_of

CHUNK = 256
"""Texts that are tokenised at once; the tokens of a long one take many times as much memory as its characters."""

Encode = Callable[[Sequence[Any]], Sequence[Array]]
"""Texts -> items."""


class TokenIds(Sequence[Array]):
    """Items int64 [tokens], or int64 [windows, max_tokens]. `shapes` int32 [items, 2] are their tokens and rows."""

    def __init__(self, ids: NDArray[Any], shapes: NDArray[np.int32]) -> None:
        self._ids, self._shapes = ids, shapes
        self._ends = np.cumsum(shapes[:, 0], dtype=np.int64)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """The tokens of each item, those of all its windows."""
        return self._shapes[:, 0]

    @property
    def rows(self) -> NDArray[np.int32]:
        """How many rows of a batch each item takes."""
        return self._shapes[:, 1]

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        tokens, rows = self._shapes[place]
        end = self._ends[place]
        item = self._ids[end - tokens : end].astype(np.int64)
        return item if rows == 1 else item.reshape(rows, -1)


def in_memory(texts: Sequence[Any], encode: Encode, dtype: type[np.signedinteger[Any]]) -> TokenIds:
    """The token ids of `texts`, held in memory as `dtype`."""
    ids, shapes = zip(*_chunks(texts, encode, dtype), strict=True)
    return TokenIds(np.concatenate(ids), np.concatenate(shapes))


def kept(texts: Sequence[Any], encode: Encode, dtype: type[np.signedinteger[Any]], folder: Path) -> TokenIds:
    """The token ids of `texts` as `dtype`, in files of `folder`; what an earlier run wrote there is not made again."""
    if not folder.exists():
        beside = folder.with_name(f"{folder.name}.partial")
        beside.mkdir(parents=True, exist_ok=True)
        _write(texts, encode, dtype, beside)
        os.replace(beside, folder)
    ids = np.memmap(folder / "ids", dtype=dtype, mode="r")
    shapes = np.fromfile(folder / "shapes", dtype=np.int32).reshape(-1, 2)
    # A slice of a memmap is a memmap, which costs several times as much to make as a slice of an array.
    return TokenIds(np.asarray(ids), shapes)


def _write(texts: Sequence[Any], encode: Encode, dtype: type[np.signedinteger[Any]], folder: Path) -> None:
    with (folder / "ids").open("ab") as ids_file, (folder / "shapes").open("ab") as shapes_file:
        done = _keep_whole(folder, np.dtype(dtype).itemsize)
        with progress("texts tokenised", total=len(texts), start=done) as advance:
            for ids, shapes in _chunks(texts, encode, dtype, done):
                # Ids come first: a text whose shape is there has all of its ids.
                for array, file in ((ids, ids_file), (shapes, shapes_file)):
                    file.write(array.tobytes())
                    file.flush()
                advance(len(shapes))


def _keep_whole(folder: Path, id_bytes: int) -> int:
    """Cut off what belongs to no whole text; return how many texts are there."""
    ids, shapes = folder / "ids", folder / "shapes"
    there = np.fromfile(shapes, dtype=np.int32)
    there = there[: len(there) // 2 * 2].reshape(-1, 2)
    ends = np.cumsum(there[:, 0], dtype=np.int64) * id_bytes
    done = int(np.searchsorted(ends, ids.stat().st_size, side="right"))
    os.truncate(shapes, there[:done].nbytes)
    os.truncate(ids, int(ends[done - 1]) if done else 0)
    return done


def _chunks(
    texts: Sequence[Any], encode: Encode, dtype: type[np.signedinteger[Any]], start: int = 0
) -> Iterator[tuple[NDArray[Any], NDArray[np.int32]]]:
    """The ids [tokens] and the shapes [texts, 2] of one chunk of texts after another."""
    for first in range(start, len(texts), CHUNK):
        items = encode(texts[first : first + CHUNK])
        shapes = np.array([(length_of(item), rows_of(item)) for item in items], dtype=np.int32)
        yield np.concatenate([item.ravel() for item in items]).astype(dtype), shapes
