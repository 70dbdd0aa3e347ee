"""Folders and files whose names say which split they are: train/, val/, test/, or train-00000-of-00002.parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeVar

from optimize.data.said import counted

SplitWord = Literal["train", "validation", "test"]
WORDS: dict[str, SplitWord] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
Item = TypeVar("Item")


def split_word(name: str) -> SplitWord | None:
    """The split that a file's or a folder's name begins with; None for another name."""
    return WORDS.get(re.split(r"[-_. \d]", name, maxsplit=1)[0].lower())


def divided(
    named: Iterable[tuple[SplitWord | None, Item]], *, to_choose_on: Literal["train", "holdout"], notes: list[str]
) -> tuple[list[Item], list[Item] | None]:
    """The items to train on and the holdout, by the splits that they are named for; without such names no holdout.

    The holdout is the test split, or the validation split where there is no test. With both, validation goes where
    choices are made.
    """
    every = list(named)
    parts = {word: [item for its, item in every if its == word] for word in (None, "train", "validation", "test")}
    if not parts["train"] or not (parts["validation"] or parts["test"]):
        return [item for _, item in every], None
    train, holdout = parts["train"], parts["test"] or parts["validation"]
    said = "train is found as the rows to train on, and " + ("test" if parts["test"] else "validation")
    said += " as the holdout"
    if parts["test"] and parts["validation"]:
        if to_choose_on == "train":
            train = train + parts["validation"]
        else:
            holdout = holdout + parts["validation"]
        said += f"; validation joins {'train' if to_choose_on == 'train' else 'the holdout'}"
    notes.append(said)
    if parts[None]:
        notes.append(f"left out: {counted(len(parts[None]), 'file')} beside these splits")
    return train, holdout
