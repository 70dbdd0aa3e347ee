"""How names from a user's data stand in sentences: a few of them, cut, and never a whole text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from optimize.progress import console

MOST_NAMES = 5
MOST_CHARACTERS = 40
MOST_WORDS_OF_A_NAME = 4


def some(names: Iterable[str]) -> str:
    """The first few names, each cut, and how many more there are."""
    return listed(map(short, names))


def listed(parts: Iterable[str]) -> str:
    """The first few parts of a sentence, and how many more there are."""
    every = list(parts)
    shown = ", ".join(every[:MOST_NAMES])
    more = len(every) - MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def counted(count: int, noun: str) -> str:
    """A number of things: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short(name: str) -> str:
    """A name in one line of at most `MOST_CHARACTERS`."""
    line = " ".join(name.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that `name` was meant to be, if one is near."""
    by_folded = {each.casefold(): each for each in names if each != name}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def tell(source: str, note: str) -> None:
    """Print a sentence about a data source."""
    console.print(f"data {source}: {note}", markup=False, highlight=False, soft_wrap=True)


def row_of(row_id: str) -> str:
    """A row by its id: `rows.csv:6` is row 7 of rows.csv; an image's id is its name."""
    found = re.fullmatch(r"(.+):(\d+)", row_id)
    return f"row {int(found[2]) + 1} of {found[1]}" if found else row_id


def columns(names: Iterable[str]) -> str:
    """The names of columns, for a sentence. What looks like a user's text is left out."""
    every = list(names)
    if any(len(name) > MOST_CHARACTERS or len(name.split()) > MOST_WORDS_OF_A_NAME for name in every):
        return f"a first line that looks like a row ({len(every)} columns); add a header with the columns' names"
    return some(every) or "none"
