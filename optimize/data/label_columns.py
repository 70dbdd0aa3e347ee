"""A column for each label: 1 or true where a row has the label, 0 or false where it has not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from optimize.data.rows import Fault
from optimize.data.said import short

WORDS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def names_in(columns: Iterable[str]) -> tuple[str, ...]:
    """The labels, in the order of their columns."""
    return tuple(name.strip() for name in columns)


def flag_of(cell: Any) -> bool | None:
    """Whether a cell says that its row has the label; None where it says neither that nor the opposite."""
    if isinstance(cell, str):
        return WORDS.get(cell.strip().casefold())
    return bool(cell) if isinstance(cell, Number | np.bool_) and cell in (0, 1) else None


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip())


def labels_in(columns: Mapping[str, Sequence[Any]], *, several: bool) -> tuple[list[Any], dict[int, Fault]]:
    """The label set of each row, or its only label unless `several`, from the columns by label.

    A row that states none gets None, and a fault by its place.
    """
    names = names_in(columns)
    labels: list[Any] = []
    faults: dict[int, Fault] = {}
    for place, cells in enumerate(zip(*columns.values(), strict=True)):
        flags = [flag_of(cell) for cell in cells]
        fault = _fault(names, cells, flags, several=several)
        if fault is not None:
            faults[place] = fault
        there = tuple(name for name, flag in zip(names, flags, strict=True) if flag)
        labels.append(None if fault is not None else there if several else there[0])
    return labels, faults


def _fault(names: Sequence[str], cells: Sequence[Any], flags: Sequence[bool | None], *, several: bool) -> Fault | None:
    if None in flags:
        place = flags.index(None)
        name = short(names[place])
        return Fault(f"no {name!r}" if is_empty(cells[place]) else f"neither 0 nor 1 in {name!r}")
    if not several and flags.count(True) != 1:
        return Fault('no label or several, which takes problem = "multi-label"')
    return None
