"""Tensors as the protocol sends them: in JSON, and as bytes. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInputError, MalformedError, kind_of
from serving.http.body import MAX_TEXTS

DataType = Literal["BYTES", "BOOL", "FP32"]
DTYPES = {"BOOL": np.bool_, "FP32": np.float32}
LENGTH = struct.Struct("<I")
"""Stands before each element of BYTES."""
Values = Sequence[bytes] | NDArray[np.bool_] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An output: `values` has the shape `shape`, BYTES as a flat list."""

    name: str
    datatype: DataType
    shape: Sequence[int]
    values: Values

    def in_json(self) -> object:
        """The elements for orjson, flat in row-major order: numbers as NumPy has them, BYTES as strings."""
        if isinstance(self.values, np.ndarray):
            return self.values.ravel()
        return [value.decode() for value in self.values]

    def packed(self) -> bytes:
        """The elements as bytes, little-endian, in row-major order."""
        if isinstance(self.values, np.ndarray):
            return self.values.tobytes()
        return packed(self.values)


def packed(elements: Iterable[bytes]) -> bytes:
    """Elements of BYTES, each behind its length."""
    return b"".join(part for element in elements for part in (LENGTH.pack(len(element)), element))


def unpacked(data: memoryview, count: int, field: str) -> list[bytes]:
    """The `count` elements of BYTES in `data`. Raises MalformedError if it does not hold so many and no more."""
    elements: list[bytes] = []
    at = 0
    while at + LENGTH.size <= len(data) and len(elements) < count:
        begin = at + LENGTH.size
        at = begin + LENGTH.unpack_from(data, at)[0]
        elements.append(bytes(data[begin:at]))
    if at != len(data) or len(elements) != count:
        raise MalformedError(
            field,
            f"must be {count} elements, each behind its length in 4 bytes (little-endian), got other lengths; pack it "
            "as BYTES are",
        )
    return elements


def count_of(shape: object, field: str) -> int:
    """How many items an input of this shape has. Raises InvalidInputError unless it is [n] or [n, 1], n at least 1."""
    match shape:
        case [int(count)] | [int(count), 1] if type(count) is int and 1 <= count <= MAX_TEXTS:
            return count
    got = f"a list of {len(shape)}" if isinstance(shape, list) else kind_of(shape)
    raise InvalidInputError(
        field, f"must be [n] or [n, 1] with n from 1 to {MAX_TEXTS}, got {got}; send {MAX_TEXTS} items at most"
    )


def flat(data: object, count: int, field: str) -> list[object]:
    """The `count` elements of an input's `data`: a list, or a list of lists of one. Raises MalformedError otherwise."""
    if not isinstance(data, list):
        raise MalformedError(field, f"must be a list, got {kind_of(data)}; send the elements as a JSON array")
    elements = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in data]
    if len(elements) != count:
        raise MalformedError(
            field, f"must have as many elements as the shape says, {count}, got {len(elements)}; mend one of the two"
        )
    return elements
