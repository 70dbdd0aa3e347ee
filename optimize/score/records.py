"""Delimited text row by row, whatever its size. A quote is text unless it opens and closes a field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from serving.model.text import MAX_CHARACTERS

MOST_CHARACTERS = 5 * MAX_CHARACTERS
"""A quote that no other one closes within so many characters is text. No text that is scored has as many."""
LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")


def records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """The fields of each row. `lines` keep their ends; those with nothing on them are passed over.

    A quoted field may have several lines. Where the delimiter is no comma, which prose has too, a quote is text if its
    own line and the next one are whole rows: two stray quotes would make one text of all the rows between them.
    """
    reading = _Reading(lines, delimiter)
    while line := reading.next_line():
        row = reading.quoted_row(line) if '"' in line else line.rstrip("\r\n").split(delimiter)
        if row != [""]:
            reading.columns = reading.columns or len(row)
            yield row


class _Reading:
    """The lines that are left, and how many columns the header has."""

    def __init__(self, lines: Iterable[str], delimiter: str) -> None:
        self._lines, self._delimiter = iter(lines), delimiter
        self._again: list[str] = []
        sign = re.escape(delimiter)
        end = rf"({sign}|\r\n|\n|\r|\Z)"
        self._quoted = re.compile(rf'"((?:[^"]|"")*+)"{end}')
        self._plain = re.compile(rf"([^{sign}\r\n]*){end}")
        self.columns = 0

    def next_line(self) -> str:
        """The next line, with its end; empty after the last one."""
        return self._again.pop() if self._again else next(self._lines, "")

    def quoted_row(self, line: str) -> list[str]:
        """The fields of the row that begins with `line`, and may go on in lines behind it."""
        text, position = line, 0
        row: list[str] = []
        while True:
            found = None
            if text.startswith('"', position):
                found, text = self._closed(text, position)
            if found is not None:
                row.append(found[1].replace('""', '"'))
            else:
                found = self._plain.match(text, position)
                assert found is not None, "it matches the empty text"
                row.append(found[1])
            position = found.end()
            if found[2] != self._delimiter:
                self._again += reversed(LINE.findall(text, position))
                return row

    def _closed(self, text: str, position: int) -> tuple[re.Match[str] | None, str]:
        """The quoted field at a place of the text, None if its quote is text; and the text with the lines it took."""
        found = self._quoted.match(text, position)
        while found is None and len(text) - position < MOST_CHARACTERS:
            more = self.next_line()
            if not more:
                break
            if self._whole(text) and self._whole(more):
                self._again.append(more)
                break
            text += more
            if '"' in more:
                found = self._quoted.match(text, position)
        return found, text

    def _whole(self, line: str) -> bool:
        """Whether a line is a row by itself, as far as its delimiters can tell."""
        one = LINE.fullmatch(line) is not None
        return one and self._delimiter != "," and 1 < self.columns == line.count(self._delimiter) + 1
