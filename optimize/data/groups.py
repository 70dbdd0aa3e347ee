"""Groups of rows with equal keys, as arrays: millions of rows fit into memory where sets and lists of them do not."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
"""One key for each row. Two of two million rows share one by chance once in ten million data sets."""


def key_of(content: bytes) -> int:
    """The key of a row with this content."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def grouped(keys: NDArray[Any]) -> NDArray[np.int64]:
    """The number of each row's group, [rows]; groups are numbered in the order of their first rows."""
    _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[numbers]


def first_rows(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each group's first row, [groups]."""
    return np.unique(groups, return_index=True)[1].astype(np.int64)


def contradicting(groups: NDArray[np.int64], answers: Iterable[Hashable]) -> NDArray[np.bool_]:
    """Which rows are in a group whose rows have more than one answer, [rows]."""
    known: dict[Hashable, int] = {}
    codes = np.fromiter((known.setdefault(answer, len(known)) for answer in answers), np.int32, len(groups))
    mixed = np.zeros(len(groups), dtype=np.bool_)
    mixed[groups[codes != codes[first_rows(groups)][groups]]] = True
    return mixed[groups]
