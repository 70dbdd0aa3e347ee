from __future__ import annotations

import pytest

from optimize.data.said import MOST_CHARACTERS, columns, counted, listed, nearest, row_of, short, some, tell


def test_few_names_are_shown_and_each_is_cut() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(map(str, range(1000))) == "0, 1, 2, 3, 4 and 995 more"
    assert listed(["x" * 60, "y"]) == f"{'x' * 60}, y"
    assert len(short("word\n" * 30)) == MOST_CHARACTERS


def test_things_are_counted() -> None:
    assert [counted(count, "row") for count in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


def test_the_nearest_name_is_another_one() -> None:
    assert nearest("sapm", ["spam", "ham", "sapm"]) == "spam"
    assert nearest("Text", ["text"]) == "text"
    assert nearest("text", ["label"]) is None


@pytest.mark.parametrize(
    ("row_id", "said"),
    [("rows.csv:6", "row 7 of rows.csv"), ("cat/1.jpg", "cat/1.jpg"), ("a:b.csv:0", "row 1 of a:b.csv")],
)
def test_a_row_is_named_from_one(row_id: str, said: str) -> None:
    assert row_of(row_id) == said


def test_a_first_row_is_not_shown_as_a_header() -> None:
    assert columns(["text", "label"]) == "text, label"
    assert "secret" not in columns(["my secret words to the support", "spam"])


def test_a_sentence_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    tell("rows.csv", f"[data] {'x' * 200}")
    assert capsys.readouterr().out == f"data rows.csv: [data] {'x' * 200}\n"
