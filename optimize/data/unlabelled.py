"""Rows without labels, for a teacher to label: lines of text, tables without a label column, images of any folder.

Labels that are there all the same are ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from optimize.data.folders import IMAGE_SUFFIXES
from optimize.data.image_file import ImageFile
from optimize.data.readers import read_rows
from optimize.data.rows import Rows, existing
from optimize.data.sources import DataConfig, FilesData, FolderData
from optimize.errors import DataError
from optimize.progress import console


@dataclass(frozen=True, slots=True)
class Labeller:
    """Gives labels to rows that have none: `labels` are all that `answer` may give."""

    labels: tuple[str, ...]
    answer: Callable[[Rows], list[str]]


def read_unlabelled(config: DataConfig, *, root: Path, seed: int) -> tuple[Rows, Rows | None]:
    """The rows to train on, without labels, and the holdout when the source names one; see `read_rows`."""
    match config:
        case FolderData():
            return _images(config.train, root), _images(config.holdout, root) if config.holdout else None
        case FilesData() if config.train.suffix == ".txt":
            return _lines(config.train, root), _lines(config.holdout, root) if config.holdout else None
    # A reader wants a label for each row. In a table the text stands in for it, and nobody looks at it; the other
    # sources bring labels of their own.
    stand_in = {"label_column": config.text_column} if isinstance(config, FilesData) else {}
    train, holdout = read_rows(config.model_copy(update={"labels": None, **stand_in}), root=root, seed=seed)
    return _without_labels(train), _without_labels(holdout) if holdout else None


def require_answers(train: Rows, labels: tuple[str, ...], least: int) -> None:
    """Raise DataError unless a teacher gave two of its labels to `least` rows each; say which labels it did not."""
    counts = Counter(train.labels)
    rare = [label for label in labels if counts[label] < least]
    often = len(labels) - len(rare)
    if often < 2:
        raise DataError(
            f"{train.source}: the teacher gives {often} of its {len(labels)} labels to at least {least} of "
            f"{len(train.labels):,} rows, and five splits need two; bring more rows, or rows of the kind that it was "
            "trained on"
        )
    if rare:
        first = ", ".join(repr(label) for label in rare[:6])
        console.print(
            f"data {train.source}: the teacher gives {len(rare)} of its {len(labels)} labels to fewer than {least} "
            f"rows ({first}{', …' if len(rare) > 6 else ''}); little can be said of them"
        )


def _lines(path: Path, root: Path) -> Rows:
    """One text a line, in UTF-8; empty lines are passed over."""
    full = existing(path, root)
    try:
        lines = full.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"data {full} must be text in UTF-8, got another byte at {error.start}; convert it, with iconv say"
        ) from None
    kept = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(kept) < len(lines):
        console.print(f"data {full.name}: {len(lines) - len(kept):,} empty lines are left out")
    return Rows("text", [line for _, line in kept], [], [f"{path.name}:{number}" for number, _ in kept], full.name)


def _images(path: Path, root: Path) -> Rows:
    """All images below a folder, however they are laid out; hidden files and folders are passed over."""
    full = existing(path, root)
    there = [file for file in sorted(full.rglob("*")) if file.is_file()]
    seen = [file for file in there if not any(part.startswith(".") for part in file.relative_to(full).parts)]
    files = [file for file in seen if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(f"data {full} has no images in it; bring .jpg, .png, .webp and the like")
    if len(files) < len(there):
        console.print(f"data {full.name}: {len(there) - len(files):,} files are hidden or no images, and left out")
    inputs = [ImageFile(str(file), file) for file in files]
    return Rows("image", inputs, [], [file.relative_to(full).as_posix() for file in files], full.name)


def _without_labels(rows: Rows) -> Rows:
    return replace(rows, labels=[], classes=None)
