"""Arrays of an npz file: in memory while they are small, and else in a file that is read where it lies.

As with `optimize.data.stored_texts`, the file has no name and goes with the process.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from optimize.progress import progress

HELD_BYTES = 64_000_000
"""What an array in memory may have; 20,000 images of 32 x 32 pixels do."""
COPIED_BYTES = 1 << 20


def stored_array(archive: NpzFile[Any], key: str, folder: Path | None) -> NDArray[Any]:
    """The array `key`; a large one lies in a file in `folder`, or where such files go. Raises what numpy raises."""
    assert archive.zip is not None, "it is open"
    names = archive.zip.namelist()
    with archive.zip.open(f"{key}.npy" if f"{key}.npy" in names else key) as member:
        header = _header(member)
        if header is not None and _bytes_of(header) > HELD_BYTES:
            return _mapped(member, key, header, folder)
    array: NDArray[Any] = archive[key]
    return array


Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""Shape, whether columns come first, and type."""


def _header(member: IO[bytes]) -> Header | None:
    """What stands before an array; None for one that only numpy itself can read."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    reader = readers.get(npy.read_magic(member))
    header: Header | None = None if reader is None else reader(member)
    return None if header is None or header[2].hasobject else header


def _bytes_of(header: Header) -> int:
    shape, _, dtype = header
    return math.prod(shape) * dtype.itemsize


def _mapped(member: IO[bytes], key: str, header: Header, folder: Path | None) -> NDArray[Any]:
    shape, columns_first, dtype = header
    with (
        tempfile.TemporaryFile(dir=folder) as file,
        progress(f"{key} read", total=_bytes_of(header)) as advance,
    ):
        while block := member.read(COPIED_BYTES):
            file.write(block)
            advance(len(block))
        file.flush()
        # The map is shared and read-only, so it counts as no memory of the process. A slice of a memmap is a memmap,
        # which costs several times as much to make as a slice of an array.
        return np.asarray(np.memmap(file, dtype, "r", shape=shape, order="F" if columns_first else "C"))
