from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.data.content import normalised
from optimize.data.readers import DigitsData, FilesData, NpzData, PaymentsData
from optimize.data.splits import Splits, load_splits
from optimize.errors import DataError
from optimize.recipe import read_recipe
from optimize.results import digest_of

PARTS = ("train", "calibration", "selection", "certification", "holdout")


def csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows), encoding="utf-8")
    return path


def texts(splits: Splits) -> dict[str, set[str]]:
    return {part: {normalised(text) for text in getattr(splits, part).inputs} for part in PARTS}


def rows(count: int, label: str, word: str = "message") -> list[tuple[str, str]]:
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(count)]
    return [(f"{word} {name}", label) for name in names]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.sampled_from("abcdefgh"), min_size=60, max_size=120))
def test_near_duplicates_never_cross_a_split(tmp_path_factory: Any, seed: int, letters: list[str]) -> None:
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    many = [(f"{letter * (i % 5 + 1)} costs {i}  Euros".title() if i % 2 else f"{letter * (i % 5 + 1)} costs 1 euros",
             "odd" if i % 2 else "even") for i, letter in enumerate(letters)]  # fmt: skip
    many += [*rows(40, "odd"), *rows(40, "even", "note")]
    splits = load_splits(FilesData(source="files", train=csv(path, many)), seed=seed, root=Path())
    found = texts(splits)
    for one in PARTS:
        for other in PARTS:
            assert one == other or not found[one] & found[other]
    assert sum(len(getattr(splits, part)) for part in PARTS) == len(many)


def test_same_seed_same_splits_and_another_seed_others() -> None:
    config = DigitsData(source="digits")
    one, two, three = (load_splits(config, seed=seed, root=Path()) for seed in (1, 1, 2))
    assert one.describe() == two.describe()
    assert one.holdout.digest != three.holdout.digest


def test_labels_keep_their_shares() -> None:
    splits = load_splits(PaymentsData(source="payments", size=1200), seed=1, root=Path())
    for part in ("train", "selection", "holdout"):
        counts = np.bincount(getattr(splits, part).targets)
        assert counts.max() - counts.min() <= 0.1 * counts.mean() + 1
    assert splits.synthetic


def test_train_rows_that_stand_in_the_holdout_are_left_out(tmp_path: Path) -> None:
    train = csv(tmp_path / "train.csv", [*rows(40, "a"), *rows(40, "b", "note"), ("Call 0800 NOW", "a")])
    holdout = csv(tmp_path / "holdout.csv", [("call 7 now", "a"), *rows(10, "b", "held")])
    splits = load_splits(FilesData(source="files", train=train, holdout=holdout), seed=1, root=Path())
    assert len(splits.holdout) == 11
    assert not any("Call 0800" in text for part in PARTS[:-1] for text in getattr(splits, part).inputs)


def test_the_selection_set_can_come_from_the_holdout(tmp_path: Path) -> None:
    train = csv(tmp_path / "train.csv", [*rows(40, "a"), *rows(40, "b", "note")])
    holdout = csv(tmp_path / "holdout.csv", [*rows(30, "a", "held"), *rows(30, "b", "kept")])
    config = FilesData(
        source="files",
        train=train,
        holdout=holdout,
        selection_from="holdout",
        selection_share=0.25,
        certification_share=0.25,
        calibration_size=8,
    )
    splits = load_splits(config, seed=1, root=Path())
    assert [len(getattr(splits, part)) for part in PARTS] == [72, 8, 16, 14, 30]
    assert all(name.startswith("holdout.csv") for name in (*splits.selection.ids, *splits.certification.ids))


def test_a_limit_keeps_labels_and_wholeness() -> None:
    splits = load_splits(DigitsData(source="digits", limit=200), seed=1, root=Path())
    assert 190 <= sum(len(getattr(splits, part)) for part in PARTS[:-1]) <= 210
    assert len(splits.labels) == 10


@pytest.mark.parametrize("limit", [None, 100])
@pytest.mark.parametrize("copies", [1, 3])
def test_a_rare_label_stands_in_every_split_that_needs_it(tmp_path: Path, limit: int | None, copies: int) -> None:
    rare = [(f"{text} {number}", label) for text, label in rows(5, "spam", "win") for number in range(copies)]
    path = csv(tmp_path / "rows.csv", [*rows(495, "ham"), *rare])
    for seed in range(10):
        config = FilesData(source="files", train=path, calibration_size=8, limit=limit)
        splits = load_splits(config, seed=seed, root=Path())
        spam = {split.name: int((split.targets == splits.labels.index("spam")).sum()) for split in splits.all}
        assert min(count for name, count in spam.items() if name != "calibration") >= 1, (seed, spam)


def test_a_label_with_fewer_groups_than_splits_is_left_for_training_first(tmp_path: Path) -> None:
    rare = [(f"win a car {number}", "spam") for number in range(4)] + [("win a trip", "spam")]
    path = csv(tmp_path / "rows.csv", [*rows(95, "ham"), *rare])
    for seed in range(10):
        splits = load_splits(FilesData(source="files", train=path, calibration_size=8), seed=seed, root=Path())
        assert (splits.train.targets == splits.labels.index("spam")).any()


@pytest.mark.parametrize(
    ("recipe", "root", "digest"),
    [
        ("demo-text", "", "a73e47e522b71fcd"),
        ("demo-image", "", "5e3e4015f75347d0"),
        ("sms-risk", "text", "6a3adc4bd3942f59"),
        ("cifar10", "", "52b081f0455d28a2"),
    ],
)
def test_shipped_recipes_keep_their_splits(request: pytest.FixtureRequest, recipe: str, root: str, digest: str) -> None:
    """Other splits would make every published figure one of another model."""
    read = read_recipe(recipe)
    folder = Path() if recipe.startswith("demo") else request.getfixturevalue("shared_data") / root
    splits = load_splits(read.data, seed=read.seed, root=folder)
    assert digest_of([split.digest for split in splits.all])[:16] == digest


def test_images_that_are_equal_are_near_duplicates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    doubled, labels = np.concatenate([images, images]), np.tile(np.arange(40) % 2, 2)
    np.savez(tmp_path / "images.npz", train_x=doubled, train_y=labels)
    config = NpzData(source="npz", path=tmp_path / "images.npz", holdout_keys=None, classes_key=None)
    splits = load_splits(config, seed=1, root=Path())
    for part in PARTS:
        assert len(getattr(splits, part)) == 2 * len(getattr(splits, part).keys)


@pytest.mark.parametrize(
    ("content", "keys", "says"),
    [
        ([("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")], {}, "at least two labels with 5 rows each"),
        (
            [*rows(8, "x"), *rows(3, "y", "w")],
            {},
            r"1 of 2 labels with fewer than 5 rows to train on: 'y' \(3\); bring more rows",
        ),
        ([*rows(8, "x"), *rows(8, "y", "w")], {"labels": ("x", "z")}, r"rows.csv:8: the label 'y' is none of x, z"),
        ([], {}, "got no rows"),
    ],
)
def test_rows_that_cannot_be_split_are_refused(tmp_path: Path, content: Any, keys: Any, says: str) -> None:
    config = FilesData(source="files", train=csv(tmp_path / "rows.csv", content), **keys)
    with pytest.raises(DataError, match=says):
        load_splits(config, seed=1, root=Path())


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_pairs_that_are_near_duplicates_never_cross_a_split(tmp_path_factory: Any, seed: int) -> None:
    """Also those that are turned round; a text may stand in several pairs."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(40)]
    lines = [f"{one} costs 1,{one} {word},{word}" for one in names for word in ("yes", "no")]
    lines += [f"{one} {word.upper()},{one} costs  2,{word}" for one in names for word in ("yes", "no")]
    path.write_text("text,text_pair,label\n" + "\n".join(lines), encoding="utf-8")
    config = FilesData(source="files", train=path, text_pair_column="text_pair")
    splits = load_splits(config, seed=seed, root=Path())
    found = [{frozenset(map(normalised, pair)) for pair in split.inputs} for split in splits.all]
    assert sum(map(len, found)) == len(set().union(*found)) == 80
    assert sum(map(len, splits.all)) == 160


def test_the_digest_covers_both_texts(tmp_path: Path) -> None:
    def digest(second: str) -> str:
        rows = [f"text {chr(97 + i)},{second if i == 0 else 'same'} {chr(97 + i)},{i % 2}" for i in range(26)]
        (tmp_path / "t.csv").write_text("text,text_pair,label\n" + "\n".join(rows))
        config = FilesData(source="files", train=tmp_path / "t.csv", text_pair_column="text_pair", calibration_size=2)
        return str([split.digest for split in load_splits(config, seed=1, root=Path()).all])

    assert digest("same") == digest("same") != digest("other")
