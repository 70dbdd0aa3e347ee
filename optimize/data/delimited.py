"""CSV and its kin: the delimiter is found, and a quote is text unless it closes a field."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from optimize.data.rows import Fault, Table
from optimize.data.said import counted

DELIMITERS = (",", "\t", ";", "|")
NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars (|)"}
LINE_END = re.compile(r"\r\n|\n|\r")
MOST_QUOTED = 1_000_000
"""Characters after which a quote that nothing closes is text, though more of the file is to come."""
# Excel's own first line.
STATED = re.compile(r"sep=(.)\r?\n")


def read_delimited(
    text: str, wanted: Sequence[str], usual: str, *, label: str | None = None, delimiter: str | None = None
) -> Table:
    """The table in a text whose first line is a header; see `delimited_parts`."""
    (table,) = delimited_parts(iter([text]), wanted, usual, label=label, delimiter=delimiter)
    return table


def delimited_parts(
    texts: Iterator[str], wanted: Sequence[str], usual: str, *, label: str | None = None, delimiter: str | None = None
) -> Iterator[Table]:
    """The rows of a file that comes in `texts`, a table for each; its first line is a header.

    Without `delimiter` it is the one that gives the header the `wanted` columns; `usual` is the one that the file's
    name promises. `label` names the column of labels, by which rows inside a quoted text are recognised.
    """
    text = next(texts, "")
    if stated := STATED.match(text):
        delimiter, text = delimiter or stated[1], text[stated.end() :]
    chosen = delimiter or found_delimiter(text, wanted, usual)
    reader = _Reader(chosen, label)
    notes = []
    if chosen != usual and delimiter is None:
        notes.append(f"its columns are separated by {NAMES.get(chosen, repr(chosen))}")
    blank, more = 0, next(texts, None)
    while True:
        records, used = reader.read(text, last=more is None)
        table = _table(reader.names, records, wanted)
        # An empty line is no row, and delimiters with nothing between them are one.
        blank += sum(len(row) > 1 and not any(cell.strip() for cell in row) for row in records)
        if more is None:
            table.notes += [*notes, *([f"left out: {counted(blank, 'row')} without any value"] if blank else [])]
        if reader.names or more is None:
            yield table
        if more is None:
            return
        text, more = text[used:] + more, next(texts, None)


def _table(names: Sequence[str], records: Sequence[Sequence[str]], wanted: Sequence[str]) -> Table:
    filled = [row for row in records if any(cell.strip() for cell in row)]
    table = Table(list(names), {}, len(filled))
    for place, row in enumerate(filled):
        if any(cell.strip() for cell in row[len(names) :]):
            table.faults[place] = Fault(
                f"more columns than the header's {len(names)}, as a text with a delimiter and no quotes has"
            )
    table.columns = {
        name: [row[place] if place < len(row) else None for row in filled]
        for place, name in enumerate(names)
        if name in wanted
    }
    return table


def found_delimiter(text: str, wanted: Sequence[str], usual: str) -> str:
    """The delimiter that gives the header of a table the most of the `wanted` columns."""

    def rank(delimiter: str) -> tuple[int, bool, int]:
        names = _names(next(_parsed(text, delimiter, frozenset()), _Row([], [], 0, None)).fields)
        return sum(name in names for name in wanted), delimiter == usual and len(names) > 1, len(names)

    return max(DELIMITERS, key=rank)


def _names(header: Sequence[str]) -> list[str]:
    return [name.strip() for name in header]


class _Reader:
    """The rows of a file, text by text.

    A quote at the start of a text and another one many rows later look like one quoted text. It is many rows if each of
    its lines has as many columns as a row, and a label that other rows have too.
    """

    def __init__(self, delimiter: str, label: str | None) -> None:
        self.names: list[str] = []
        self._delimiter, self._label = delimiter, label
        self._labels: set[str] = set()
        self._begun = False

    def read(self, text: str, *, last: bool) -> tuple[list[list[str]], int]:
        """The whole rows of a text, and where they end there; the file ends with the `last` text."""
        as_text: set[int] = set()
        while True:
            parsed = list(_whole(_parsed(text, self._delimiter, as_text), len(text), last=last))
            if parsed and not self._begun:
                self.names = _names(parsed[0].fields)
            rows = parsed if self._begun else parsed[1:]
            place = self.names.index(self._label) if self._label in self.names else None
            if place is not None:
                self._labels |= {row.fields[place] for row in rows if not row.long and place < len(row.fields)}
            stray = {
                start
                for row in rows
                for start, column, content in row.long
                if place is not None
                and _holds_rows(content, column, place, len(self.names), self._delimiter, self._labels)
            }
            if not stray:
                self._begun = self._begun or bool(parsed)
                return [row.fields for row in rows], parsed[-1].end if parsed else 0
            as_text |= stray


def _whole(rows: Iterator[_Row], size: int, *, last: bool) -> Iterator[_Row]:
    """The rows of a text with `size` characters that its next text cannot change."""
    for row in rows:
        # Where a row ends with the text, more of it may come; so may the end of a quoted text.
        if not last and (row.end >= size or (row.open is not None and size - row.open < MOST_QUOTED)):
            return
        yield row


def _holds_rows(content: str, column: int, label: int, columns: int, delimiter: str, labels: Collection[str]) -> bool:
    lines = LINE_END.split(content)
    # The first line begins in this column, and the last one ends in it.
    cells = [[""] * column + lines[0].split(delimiter), *(line.split(delimiter) for line in lines[1:])]
    whole, last = cells[:-1], cells[-1]
    if any(len(row) != columns for row in whole) or len(last) != column + 1:
        return False
    # The label of the first row stands before the quote, or that of the last one behind it.
    labelled = whole if label > column else [*whole[1:], last]
    return all(row[label].strip('"') in labels for row in labelled)


class _Row(NamedTuple):
    fields: list[str]
    long: list[tuple[int, int, str]]
    """Quoted fields of several lines as (start, column, content)."""
    end: int
    """Where the next row starts."""
    open: int | None
    """Where the first quote is that nothing closes."""


def _parsed(text: str, delimiter: str, as_text: Collection[int]) -> Iterator[_Row]:
    """The rows of a text. Quotes that start at a place in `as_text` are text."""
    sign = re.escape(delimiter)
    end = rf"({sign}|\r\n|\n|\r|\Z)"
    quoted = re.compile(rf'"((?:[^"]|"")*+)"{end}')
    plain = re.compile(rf"([^{sign}\r\n]*){end}")
    row: list[str] = []
    long: list[tuple[int, int, str]] = []
    position, unclosed = 0, None
    while position < len(text) or row:
        found = None
        if text.startswith('"', position) and position not in as_text:
            found = quoted.match(text, position)
            if found is None and unclosed is None:
                unclosed = position
        if found is None:
            found = plain.match(text, position)
            assert found is not None, "it matches the empty text"
            row.append(found[1])
        else:
            if LINE_END.search(found[1]):
                long.append((position, len(row), found[1]))
            row.append(found[1].replace('""', '"'))
        position = found.end()
        if found[2] != delimiter:
            yield _Row(row, long, position, unclosed)
            row, long, unclosed = [], [], None
