from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.data import delimited
from optimize.data.delimited import delimited_parts, read_delimited

ROWS = [(f"message {place}", "spam" if place % 3 else "ham") for place in range(300)]


def read(text: str, usual: str = ",", **keys: str) -> tuple[list[object], list[object]]:
    table = read_delimited(text, ("text", "label"), usual, **{"label": "label", **keys})
    return list(table.columns["text"]), list(table.columns["label"])


def tsv(rows: list[tuple[str, str]]) -> str:
    return "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ('"Oh, I see', '"And then'),  # another quote opens before this one is closed
        ('"Oh, I see', "and then he went"),
        ('"Oh, I see', 'and then he said "no"'),
        ('"Oh" he said', 'then "no"'),
        ('"', '"'),
        ('"Oh, I see', 'and then"'),  # together they look like one text of 20 lines
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["label last", "label first"])
def test_stray_quotes_are_text(first: str, last: str, turned: bool) -> None:
    rows = [
        (first if place == 40 else last if place == 60 else text, label) for place, (text, label) in enumerate(ROWS)
    ]
    text = tsv(rows)
    if turned:
        text = "".join("\t".join(reversed(line.split("\t"))) + "\n" for line in text.splitlines())
    got = read(text, "\t")
    assert got == tuple(map(list, zip(*rows, strict=True)))


def test_a_quoted_text_of_several_lines_is_one_row() -> None:
    text = 'text,label\n"Dear all,\nplease ""reply"", now,\r\nthanks",ham\n"one, two",spam\n'
    assert read(text) == (['Dear all,\nplease "reply", now,\r\nthanks', "one, two"], ["ham", "spam"])


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(lambda cell: cell.strip())


@given(st.lists(st.tuples(cells, st.sampled_from(["ham", "spam", "not sure"])), min_size=1), st.sampled_from(",\t;|"))
def test_what_the_csv_module_writes_is_read(rows: list[tuple[str, str]], delimiter: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    assert read(file.getvalue(), delimiter) == tuple(map(list, zip(*rows, strict=True)))


def test_the_delimiter_is_the_one_that_gives_the_wanted_columns() -> None:
    text = "id, of a kind;text;label\n1;a, b, c;x\n"
    table = read_delimited(text, ("text", "label"), ",")
    assert table.columns == {"text": ["a, b, c"], "label": ["x"]}
    assert table.notes == ["its columns are separated by semicolons"]
    assert read_delimited("a,b\n1,2\n", ("text", "label"), "\t").names == ["a", "b"]


def test_rows_without_any_value_are_counted_and_empty_lines_are_none() -> None:
    table = read_delimited("text,label\n\na,x\n,\n , \nb,y,,\nc\n", ("text", "label"), ",")
    assert table.columns == {"text": ["a", "b", "c"], "label": ["x", "y", None]}
    assert table.notes == ["left out: 2 rows without any value"]
    assert not table.faults


def test_a_row_with_more_columns_than_the_header_is_a_fault() -> None:
    table = read_delimited("text,label\na,x\nb, c,y\n", ("text", "label"), ",")
    assert list(table.faults) == [1]
    assert table.size == 2


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.text(st.sampled_from('ab,"\n\r\t '), max_size=9), st.sampled_from(["x", "y"])), min_size=1),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.integers(8, 40),
)
def test_a_file_in_parts_is_read_as_the_whole_file(rows: list[tuple[str, str]], quoting: int, size: int) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n", quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("text", "label"), *rows])
    text = file.getvalue()
    whole = read_delimited(text, ("text", "label"), ",", label="label")
    pieces = iter([text[start : start + size] for start in range(0, len(text), size)])
    parts = list(delimited_parts(pieces, ("text", "label"), ",", label="label"))
    for name in ("text", "label"):
        assert [cell for part in parts for cell in part.columns[name]] == list(whole.columns[name])
    assert [note for part in parts for note in part.notes] == whole.notes
    before = 0
    faults = []
    for part in parts:
        faults += [place + before for place in part.faults]
        before += part.size
    assert faults == list(whole.faults)


def test_a_quote_that_nothing_closes_holds_up_a_part_of_the_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MOST_QUOTED", 100)
    rows = [('"Oh, I see' if place == 3 else text.replace(" ", "_"), label) for place, (text, label) in enumerate(ROWS)]
    text = tsv(rows)
    pieces = iter([text[start : start + 50] for start in range(0, len(text), 50)])
    parts = list(delimited_parts(pieces, ("text", "label"), "\t", label="label"))
    assert [cell for part in parts for cell in part.columns["text"]] == [text for text, _ in rows]
    assert max(part.size for part in parts) < 20
