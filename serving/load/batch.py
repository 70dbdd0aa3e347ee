"""Which of the escalations that wait go to the expert in the next call. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from serving.load.forecast import Forecast, Waiting

Entry = TypeVar("Entry", bound=Waiting)


@dataclass(slots=True)
class NextBatch(Generic[Entry]):
    """The queue, divided: `batch` goes now, `late` can no longer keep its deadline, `rest` waits on.

    `size` is the number of items in the batch, `length` that of the longest item.
    """

    batch: list[Entry] = field(default_factory=list)
    late: list[Entry] = field(default_factory=list)
    rest: list[Entry] = field(default_factory=list)
    size: int = 0
    length: int = 0


def next_batch(waiting: Iterable[Entry], now_s: float, forecast: Forecast) -> NextBatch[Entry]:
    """The oldest escalation that can be in time, and others of like length, as many as fit into one call.

    Another one fits if the call stays within the largest batch and is expected to keep the earliest deadline in it.
    """
    formed: NextBatch[Entry] = NextBatch()
    earliest_s = math.inf
    for entry in waiting:
        if now_s + forecast.expected_ms(entry.size, entry.length) / 1e3 > entry.deadline_s:
            formed.late.append(entry)
            continue
        size, length = formed.size + entry.size, max(formed.length, entry.length)
        deadline_s = min(earliest_s, entry.deadline_s)
        if not formed.batch or (
            size <= forecast.max_batch_size
            and _like(entry.length, formed.batch[0].length)
            and now_s + forecast.expected_ms(size, length) / 1e3 <= deadline_s
        ):
            formed.batch.append(entry)
            formed.size, formed.length, earliest_s = size, length, deadline_s
        else:
            formed.rest.append(entry)
    return formed


def _like(one: int, other: int) -> bool:
    """Whether two lengths round up to the same power of two, so that padding one to the other costs little."""
    return (one - 1).bit_length() == (other - 1).bit_length()
