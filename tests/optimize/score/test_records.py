from __future__ import annotations

import io
import random

import pytest

from optimize.data.delimited import read_delimited
from optimize.score.records import MOST_CHARACTERS, records


def read(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(records(io.StringIO(text, newline=""), delimiter))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        ("a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]]),
        ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
        ("a,b\n\n1,2\n\n\n", [["a", "b"], ["1", "2"]]),
        ("a,b\n,\n", [["a", "b"], ["", ""]]),
        ('a,b\n"x, y",2\n', [["a", "b"], ["x, y", "2"]]),
        ('a,b\n"x\r\ny",2\nz,3\n', [["a", "b"], ["x\r\ny", "2"], ["z", "3"]]),
        ('a,b\n"she said ""no""",2\n', [["a", "b"], ['she said "no"', "2"]]),
        ('a,b\n"no" she said,2\n', [["a", "b"], ['"no" she said', "2"]]),
        ('a,b\n"open,2\nz,3\n', [["a", "b"], ['"open', "2"], ["z", "3"]]),
        ('"a\nb",c\n1,2\n', [["a\nb", "c"], ["1", "2"]]),
    ],
)
def test_rows_and_quotes(text: str, rows: list[list[str]]) -> None:
    assert read(text) == rows


def test_it_reads_as_the_readers_of_the_recipes_do() -> None:
    rng = random.Random(0)
    cells = ["x", "", 'say "no"', '"x', "two\nlines", "a, b", " spaced ", '""']
    for _ in range(200):
        rows = [[rng.choice(cells) for _ in range(3)] for _ in range(6)]
        quoted = [[f'"{c.replace(chr(34), chr(34) * 2)}"' if set(c) & set('",\n') else c for c in row] for row in rows]
        text = "a,b,c\n" + "".join(f"{','.join(row)}\n" for row in quoted)
        table = read_delimited(text, ["a", "b", "c"], ",")
        expected = [list(row) for row in zip(*table.columns.values(), strict=True)]
        assert (
            [row for row in read(text)[1:] if any(cell.strip() for cell in row)]
            == expected
            == [row for row in rows if any(cell.strip() for cell in row)]
        )


def test_two_stray_quotes_in_a_tsv_lose_no_row() -> None:
    rows = [[f"message {number}", "label"] for number in range(300)]
    rows[20][0], rows[40][0] = '"opened', 'closed"'
    text = "text\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows)
    assert read(text, "\t")[1:] == rows


def test_a_text_of_several_lines_in_a_tsv_is_one_field() -> None:
    text = 'id\ttext\n1\t"first\nsecond"\n2\tthird\n'
    assert read(text, "\t")[1:] == [["1", "first\nsecond"], ["2", "third"]]


def test_a_quote_that_never_ends_takes_no_more_than_a_text_can_have() -> None:
    held = []

    def lines() -> list[str]:
        return ["text,n\n", '"open,1\n', *[f"{'x' * 100},{number}\n" for number in range(3 * MOST_CHARACTERS // 100)]]

    for row in records(iter(lines()), ","):
        held.append(row)
    assert len(held) == len(lines())
    assert held[1] == ['"open', "1"]
