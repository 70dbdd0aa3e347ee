from __future__ import annotations

import pytest

from optimize.start.columns import guess, separator_of

LONG = [f"a sentence about the matter {place}" for place in range(40)]
FEW = ["yes", "no"] * 20


@pytest.mark.parametrize(
    ("columns", "text", "label", "guessed"),
    [
        ({"text": LONG, "label": FEW}, "text", "label", ()),
        ({"id": [str(i) for i in range(40)], "Review": LONG, "Sentiment": FEW}, "Review", "Sentiment", ()),
        ({"body": LONG, "category": FEW, "title": LONG}, "body", "category", ()),
        ({"v1": FEW, "v2": LONG}, "v2", "v1", ("v2", "v1")),
        ({"v1": [1, 0] * 20, "v2": LONG, "when": [f"2024-01-{i}" for i in range(40)]}, "v2", "v1", ("v2", "v1")),
        ({"message": LONG}, "message", None, ()),
        ({"message": LONG, "id": list(range(40))}, "message", None, ()),
        # Every row has a value of its own, so the name alone makes no column of labels.
        ({"text": LONG, "topic": ["only"] * 40}, "text", None, ()),
        ({"tags": [["a", "b"], []] * 20, "text": LONG}, "text", "tags", ()),
    ],
)
def test_columns_are_guessed_by_name_and_then_by_what_they_hold(
    columns: dict[str, list[object]], text: str, label: str | None, guessed: tuple[str, ...]
) -> None:
    found = guess(columns)
    assert (found.text, found.label, found.guessed) == (text, label, guessed)


def test_a_users_word_stands_above_a_guess() -> None:
    found = guess({"text": LONG, "label": FEW, "summary": LONG, "queue": FEW}, text="summary", labels=("queue",))
    assert (found.text, found.label, found.guessed) == ("summary", "queue", ())


@pytest.mark.parametrize(
    ("first", "second"), [("premise", "hypothesis"), ("Question1", "question2"), ("text", "text_pair")]
)
def test_pairs(first: str, second: str) -> None:
    found = guess({second: LONG, first: LONG, "label": FEW})
    assert (found.text, found.text_pair, found.label) == (first, second, "label")


@pytest.mark.parametrize(
    "cells",
    [[b"\x89PNG"] * 4, [{"bytes": b"x", "path": None}] * 4, ["a/1.png", "a/2.JPG"] * 2],
    ids=["bytes", "hub", "paths"],
)
def test_images(cells: list[object]) -> None:
    found = guess({"image": cells, "label": ["a", "b"] * 2})
    assert (found.text, found.image, found.label) == (None, "image", "label")


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["sport", "sport|news", "news", "sport|news|local", "local"] * 8, "|"),
        (["a; b", "b", "a", "a", "c", "a; b; c", "b; c"] * 8, ";"),
        ([["a"], []] * 8, ""),
        (["yes", "no"] * 20, None),
        # A comma inside names.
        (["Boston, MA", "Austin, TX", "Salem, OR"] * 10, None),
    ],
)
def test_several_labels_in_a_cell(cells: list[object], separator: str | None) -> None:
    assert separator_of(cells) == separator


FLAGS = {"fee": ["1", "0"] * 20, "fraud": ["0", "1"] * 20, "rare": ["0", ""] * 20}


def test_a_column_for_each_label() -> None:
    found = guess({"id": list(range(40)), "body": LONG, **FLAGS})
    assert (found.label, found.labels, found.guessed) == (None, ("fee", "fraud", "rare"), ("fee", "fraud", "rare"))
    assert guess({"body": LONG, **FLAGS, "label": FEW}).labels == (), "a name says more than what columns hold"
    assert guess({"body": LONG, "fee": FLAGS["fee"], "rare": FLAGS["rare"]}).label == "fee", "only one has both"
    named = guess({"body": LONG, **FLAGS, "label": FEW}, labels=("fraud", "fee"))
    assert (named.label, named.labels, named.guessed) == (None, ("fraud", "fee"), ())
