"""CSV and its kin: the delimiter is found, and a quote is text unless it closes a field."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from optimize.data.rows import Fault, Table
from optimize.data.said import counted

DELIMITERS = (",", "\t", ";", "|")
NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars (|)"}
LINE_END = re.compile(r"\r\n|\n|\r")
# Excel's own first line.
STATED = re.compile(r"sep=(.)\r?\n")


def read_delimited(
    text: str, wanted: Sequence[str], usual: str, *, label: str | None = None, delimiter: str | None = None
) -> Table:
    """The table in a text whose first line is a header.

    Without `delimiter` it is the one that gives the header the `wanted` columns; `usual` is the one that the file's
    name promises. `label` names the column of labels, by which rows inside a quoted text are recognised.
    """
    if stated := STATED.match(text):
        delimiter, text = delimiter or stated[1], text[stated.end() :]
    chosen = delimiter or found_delimiter(text, wanted, usual)
    names, records = _records(text, chosen, label)
    filled = [row for row in records if any(cell.strip() for cell in row)]
    table = Table(names, {}, len(filled))
    if chosen != usual and delimiter is None:
        table.notes.append(f"its columns are separated by {NAMES.get(chosen, repr(chosen))}")
    # An empty line is no row, and delimiters with nothing between them are one.
    if blank := sum(len(row) > 1 and not any(cell.strip() for cell in row) for row in records):
        table.notes.append(f"left out: {counted(blank, 'row')} without any value")
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
        names = _names(next(_parsed(text, delimiter, frozenset()), ([], []))[0])
        return sum(name in names for name in wanted), delimiter == usual and len(names) > 1, len(names)

    return max(DELIMITERS, key=rank)


def _names(header: Sequence[str]) -> list[str]:
    return [name.strip() for name in header]


def _records(text: str, delimiter: str, label: str | None) -> tuple[list[str], list[list[str]]]:
    """The header's names, and the rows.

    A quote at the start of a text and another one many rows later look like one quoted text. It is many rows if each of
    its lines has as many columns as a row, and a label that other rows have too.
    """
    as_text: set[int] = set()
    while True:
        parsed = list(_parsed(text, delimiter, as_text))
        names = _names(parsed[0][0]) if parsed else []
        rows = [row for row, _ in parsed[1:]]
        place = names.index(label) if label in names else None
        labels = {row[place] for row, long in parsed[1:] if not long and place is not None and place < len(row)}
        stray = {
            start
            for row, long in parsed[1:]
            for start, column, content in long
            if place is not None and _holds_rows(content, column, place, len(names), delimiter, labels)
        }
        if not stray:
            return names, rows
        as_text |= stray


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


def _parsed(
    text: str, delimiter: str, as_text: Collection[int]
) -> Iterator[tuple[list[str], list[tuple[int, int, str]]]]:
    """Each row's fields, and its quoted fields of several lines as (start, column, content).

    Quotes that start at a place in `as_text` are text.
    """
    sign = re.escape(delimiter)
    end = rf"({sign}|\r\n|\n|\r|\Z)"
    quoted = re.compile(rf'"((?:[^"]|"")*+)"{end}')
    plain = re.compile(rf"([^{sign}\r\n]*){end}")
    row: list[str] = []
    long: list[tuple[int, int, str]] = []
    position = 0
    while position < len(text) or row:
        found = None
        if text.startswith('"', position) and position not in as_text:
            found = quoted.match(text, position)
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
            yield row, long
            row, long = [], []
