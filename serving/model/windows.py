"""Parts of a text with more tokens than a model takes: where they lie, and how their logits become the text's.

A windowed item is int64 [windows, max_tokens]: one row of a batch for each window. Every other item is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from serving.arrays import Array, Logits
from serving.model.answer import softmax

MOST_WINDOWS = 8
# Neighbours share at least a quarter of a window while there may be more of them, so that a sentence at a border stands
# whole in one of the two.
OVERLAP_DIVISOR = 4


def parts(
    ids: Sequence[int], added: Sequence[int], max_tokens: int, most: int = MOST_WINDOWS, *, from_end: bool = False
) -> tuple[Array, bool]:
    """Up to `most` windows int64 [windows, max_tokens] over a text with more tokens, and whether they leave some out.

    `ids` are all tokens of the text, `added` has a 1 for each that the tokeniser added at the start and the end. Every
    window has these, too. The first window starts at the text's start and is what the tokeniser's own truncation keeps;
    `from_end` keeps one window that ends at the text's end.
    """
    begin, end = added.index(0), len(added) - added[::-1].index(0)
    before, own, after = ids[:begin], ids[begin:end], ids[end:]
    room = max_tokens - len(before) - len(after)
    begins = [len(own) - room] if from_end else starts(len(own), room, most)
    windows = [[*before, *own[start : start + room], *after] for start in begins]
    return np.array(windows, dtype=np.int64), len(own) > len(windows) * room


def starts(tokens: int, room: int, most: int = MOST_WINDOWS) -> list[int]:
    """Where windows of `room` tokens start, spread evenly over more than `room` tokens; the last ends at the end.

    With `most` = 1 there is one, at the start.
    """
    overlap = room // OVERLAP_DIVISOR
    count = min(most, -(-(tokens - overlap) // (room - overlap)))
    return [(tokens - room) * place // max(1, count - 1) for place in range(count)]


def rows_of(item: Array) -> int:
    """How many rows of a batch an item takes."""
    return len(item) if item.ndim == 2 else 1


def length_of(item: Array) -> int:
    """What the time of an item goes by: the tokens of a text, those of all its windows. Images have one length."""
    return item.size if item.ndim < 3 else len(item)


def longest(items: Sequence[Array]) -> int:
    """The length of the longest item."""
    return max(map(length_of, items))


def groups(items: Sequence[Array], most_rows: int) -> Iterator[slice]:
    """The places of neighbours that have at most `most_rows` rows together; an item with more is alone."""
    return groups_of(map(rows_of, items), most_rows)


def groups_of(rows: Iterable[int], most_rows: int) -> Iterator[slice]:
    """`groups` of items that have so many rows each."""
    start = end = together = 0
    for end, more in enumerate(rows, start=1):
        if end - 1 > start and together + more > most_rows:
            yield slice(start, end - 1)
            start, together = end - 1, 0
        together += more
    if end:
        yield slice(start, end)


def merged(logits: Logits, items: Sequence[Array], watched: int | None = None) -> Logits:
    """Logits [rows, labels] of all rows of `items` -> [items, labels].

    A windowed item gets the mean of its windows' logits: like the logits themselves it can be divided by a temperature
    afterwards, and it moves no more than they do when a graph is quantized. With `watched`, the index of a label, it
    gets the logits of the window in which that label has the largest share, so that no other window can outvote it.
    """
    if len(logits) == len(items):
        return logits
    ends = np.cumsum([rows_of(item) for item in items])
    return np.stack([_of_windows(rows, watched) for rows in np.split(logits, ends[:-1])])


def _of_windows(logits: Logits, watched: int | None) -> Logits:
    chosen = logits.mean(axis=0) if watched is None else logits[softmax(logits)[:, watched].argmax()]
    return np.asarray(chosen, dtype=np.float32)
