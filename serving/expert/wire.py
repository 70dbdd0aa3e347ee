"""Messages between the API's process and an expert's: raw arrays, without pickle.

A message is one line of JSON with the type and the shapes of the arrays, and then their bytes, in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import orjson

from serving.arrays import Array
from serving.errors import MalformedError
from serving.settings import MOST_BATCH_SIZE

TYPES = ("int64", "float32")
TOOK_HEADER = "x-expert-ms"
"""Header of a reply: milliseconds of the expert's own session."""
WAITED_HEADER = "x-waited-ms"
"""Header of a reply: milliseconds for which the call waited for those before it."""
LEFT_HEADER = "x-left-ms"
"""Header of a call: for so many milliseconds from its arrival on somebody waits for the answer."""
MAX_ARRAYS = MOST_BATCH_SIZE


def left_of(header: str | None) -> float:
    """The milliseconds of a LEFT_HEADER; infinite where there is none. Raises MalformedError for no such number."""
    if header is None:
        return math.inf
    try:
        left_ms = float(header)
    except ValueError:
        left_ms = math.nan
    if math.isnan(left_ms):
        raise MalformedError(LEFT_HEADER, "must be a number of milliseconds, got something else; leave it out for none")
    return left_ms


def pack(arrays: Sequence[Array]) -> bytes:
    """One message of arrays of one type, int64 or float32."""
    head = {"type": str(arrays[0].dtype), "shapes": [array.shape for array in arrays]}
    return b"\n".join([orjson.dumps(head), b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)])


def unpack(message: bytes) -> list[Array]:
    """The arrays of a message, as read-only views of it. Raises MalformedError for anything else."""
    head, _, data = message.partition(b"\n")
    try:
        described = orjson.loads(head)
        dtype, shapes = described["type"], described["shapes"]
        if (
            dtype not in TYPES
            or not 1 <= len(shapes) <= MAX_ARRAYS
            or any(type(size) is not int or size < 0 for shape in shapes for size in shape)
        ):
            raise ValueError
        values = np.frombuffer(data, dtype=dtype)
        sizes = [math.prod(shape) for shape in shapes]  # numpy's own product overflows
        if len(values) != sum(sizes):
            raise ValueError
        ends = accumulate(sizes)
        return [values[end - size : end].reshape(shape) for end, size, shape in zip(ends, sizes, shapes, strict=True)]
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise MalformedError(
            "body", "must be a message of arrays as `pack` makes it, got another; send the arrays through `pack`"
        ) from error
