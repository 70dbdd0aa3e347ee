from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optimize.data.checks import OTHER, checked
from optimize.data.rows import Rows
from optimize.data.sources import FilesData
from optimize.errors import DataError
from serving.model.text import TextPair


def rows(counts: dict[str, int], **keys: Any) -> Rows:
    labels = [label for label, count in counts.items() for _ in range(count)]
    texts = keys.pop("texts", None) or [f"text {place}" for place in range(len(labels))]
    return Rows("text", texts, labels, [f"rows.csv:{place}" for place in range(len(labels))], "rows.csv", **keys)


def check(train: Rows, holdout: Rows | None = None, **keys: Any) -> tuple[Rows, Rows | None]:
    return checked(train, holdout, FilesData(source="files", train="rows.csv", **keys))


def test_rows_that_keep_the_rules_are_the_same() -> None:
    train, holdout = rows({"a": 9, "b": 5}), rows({"a": 1})
    assert check(train, holdout) == (train, holdout)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([f"{place}.25" for place in range(60)], "got 60 different numbers, and a number for each row is no label"),
        ([f"a long answer {'of a customer ' * 4}{place}" for place in range(60)], "got 60 different texts in 60 rows"),
        ([f"name {place}" for place in range(60)], "got 60 different names in 60 rows"),
        ([f"n{place % 1001}" for place in range(5005)], "must be 2 to 1,000 names that rows share, got 1,001"),
    ],
)
def test_a_column_that_holds_no_labels_is_refused_without_its_values(labels: list[str], says: str) -> None:
    ids = [f"rows.csv:{place}" for place in range(len(labels))]
    with pytest.raises(DataError, match=says) as error:
        check(Rows("text", [f"text {row}" for row in ids], labels, ids, "rows.csv"))
    assert "customer" not in str(error.value)


def test_a_column_of_texts_is_refused_without_its_values_where_labels_are_listed() -> None:
    labels = [f"a long answer {'of a customer ' * 4}{place}" for place in range(60)]
    with pytest.raises(DataError, match="got 60 different texts in 60 rows") as error:
        check(rows(dict.fromkeys(labels, 1)), labels=("spam", "ham"))
    assert "customer" not in str(error.value)


def test_1000_labels_are_taken() -> None:
    train = rows({f"n{place}": 5 for place in range(1000)})
    assert check(train)[0] == train


def test_spellings_of_a_label_are_refused_merged_or_kept() -> None:
    train, holdout = rows({"spam": 7, "Spam": 5, "ham": 9}), rows({"SPAM": 1, "ham": 1})
    with pytest.raises(DataError, match=r"'spam' \(7\) and 'Spam' \(5\) and 'SPAM' \(1\); spell them alike, or set"):
        check(train, holdout)
    merged, held = check(train, holdout, label_variants="merge")
    assert merged.labels == ["spam"] * 12 + ["ham"] * 9
    assert held is not None
    assert held.labels == ["spam", "ham"]
    assert "read as the most frequent one" in merged.notes[0]
    kept, _ = check(train, holdout, label_variants="keep")
    assert kept.labels == train.labels
    assert "kept apart" in kept.notes[0]


def test_rare_labels_are_named_with_the_one_that_is_near() -> None:
    train = rows({"spam": 9, "ham": 9, "sapm": 1, "7": 2})
    with pytest.raises(
        DataError, match=r"2 of 4 labels with fewer than 5 .*: 'sapm' \(1; 'spam' is near\), '7' \(2\);"
    ):
        check(train)


def test_hundreds_of_rare_labels_make_a_short_sentence() -> None:
    with pytest.raises(DataError, match=r"300 of 301 labels .* and 295 more") as error:
        check(rows({"often": 400} | {f"rare {place}": 1 for place in range(300)}))
    assert len(str(error.value)) < 400


def test_rare_labels_are_put_together_or_left_out() -> None:
    train, holdout = rows({"a": 9, "b": 9, "c": 3, "d": 2}), rows({"a": 1, "d": 1})
    together, held = check(train, holdout, rare_labels="other")
    assert together.labels == ["a"] * 9 + ["b"] * 9 + [OTHER] * 5
    assert held is not None
    assert held.labels == ["a", OTHER]
    assert together.notes == (
        "2 of 4 labels with fewer than 5 rows to train on: 'd' (2), 'c' (3); put together as 'other'",
    )
    without, held = check(train, holdout, rare_labels="leave-out")
    assert without.labels == ["a"] * 9 + ["b"] * 9
    assert without.ids == [f"rows.csv:{place}" for place in range(18)]
    assert held is not None
    assert held.inputs == ["text 0"]
    with pytest.raises(DataError, match="together they have 2, too few for a label 'other'"):
        check(rows({"a": 9, "b": 9, "d": 2}), rare_labels="other")
    with pytest.raises(DataError, match="fewer than 10 rows"):
        check(train, min_rows_per_label=10)


@pytest.mark.parametrize("rule", ["other", "leave-out"])
def test_rare_labels_that_the_recipe_lists_are_named_with_the_rule(rule: str) -> None:
    train = rows({"a": 9, "b": 9, "c": 3, "d": 2})
    with pytest.raises(DataError, match=f'rare_labels = "{rule}" takes these out of the labels, and `labels` lists'):
        check(train, rare_labels=rule, labels=("a", "b", "c", "d"))
    assert set(check(train, rare_labels=rule, labels=("a", "b", OTHER))[0].labels) <= {"a", "b", OTHER}


def test_the_sources_own_order_follows() -> None:
    train = rows({"b": 9, "a": 9, "c": 5, "d": 2}, classes=("b", "d", "a", "c", "unused"))
    assert check(train, rare_labels="leave-out")[0].classes == ("b", "a", "c")
    assert check(train, rare_labels="other", min_rows_per_label=7)[0].classes == ("b", OTHER, "a")


def test_contradictory_duplicates_are_counted_and_too_many_are_refused() -> None:
    texts = ["Call  now", *(f"text {place}" for place in range(98)), "call now"]
    train = rows({"a": 50, "b": 50}, texts=texts)
    says = "2 rows (2.00%) with the input of another row and not its label, such as "
    says += "row 1 of rows.csv and row 100 of rows.csv"
    assert check(train)[0].notes == (says,)
    with pytest.raises(
        DataError, match=r"row 100 of rows.csv; at most 1.00% may: mend the labels, or raise max_contra"
    ):
        check(train, max_contradictory_share=0.01)


def test_contradictory_images_are_counted() -> None:
    pixels = np.zeros((20, 2, 2, 1), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(20) // 2
    ids = [f"x:{place}" for place in range(20)]
    with pytest.raises(DataError, match=r"20 rows \(100.00%\)"):
        check(Rows("image", list(pixels), ["a", "b"] * 10, ids, "d.npz"))
    same = Rows("image", list(pixels), [str(place // 2 % 2) for place in range(20)], ids, "d.npz")
    assert check(same)[0] == same


def test_a_pair_contradicts_another_when_both_texts_are_the_same() -> None:
    own = [TextPair("a", f"own {place}") for place in range(4)]
    texts = [*own, TextPair("a", "b"), TextPair("A", "b "), TextPair("b", "a"), TextPair("a", "c")]
    train = rows({"yes": 5, "no": 5}, texts=[*texts, TextPair("c", "a"), TextPair("d", "e")])
    (note,) = check(train, max_contradictory_share=1.0)[0].notes
    assert note.startswith("2 rows (20.00%) with the input of another row and not its label, such as row 5 of rows.csv")
