"""Rows without labels, for a teacher to label: lines of text, tables without a label column, images of any folder.

Labels that are there all the same are ignored.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from optimize.data.file_text import blocks, encoding_of, texts_in
from optimize.data.folders import IMAGE_SUFFIXES, is_hidden
from optimize.data.readers import found_in
from optimize.data.rows import Found, Rows, existing
from optimize.data.said import counted
from optimize.data.sequences import Lazy
from optimize.data.sources import AnyData, DataConfig, FilesData, FolderData, HubData
from optimize.data.stored import whole_lines
from optimize.data.stored_texts import GrowingTexts
from optimize.data.targets import LabelSet
from optimize.data.usable import usable
from optimize.errors import DataError
from optimize.progress import console, progress

COLUMNS = {"text_column", "text_pair_column", "image_column", "delimiter"}


@dataclass(frozen=True, slots=True)
class Labeller:
    """Gives labels to rows that have none: `labels` are all that `answer` may give."""

    labels: tuple[str, ...]
    answer: Callable[[Rows], list[str] | list[LabelSet]]


def read_unlabelled(
    config: DataConfig, *, root: Path, seed: int, folder: Path | None = None
) -> tuple[Rows, Rows | None]:
    """The rows to train on, without labels, and the holdout when the source names one; see `read_rows`."""
    match config:
        case FolderData():
            found = _each(config, root, _images)
        case FilesData():
            found = _files(config, root, seed, folder)
        case HubData():
            stand_in = {"labels": None, "label_column": config.input_column}
            found = found_in(config.model_copy(update=stand_in), root, seed, folder)
        case _:
            found = found_in(config, root, seed, folder)
    return _rows(found, config, folder)


def _files(config: FilesData, root: Path, seed: int, folder: Path | None) -> tuple[Found, Found | None]:
    # A reader wants a column of labels; the inputs stand in for it, and nobody looks at them.
    table = config.model_copy(update={"label_column": config.image_column or config.text_column})

    def read(path: Path, root: Path) -> Found:
        if _of_lines(path, config):
            return _lines(path, root, config.encoding, folder)
        return found_in(table.model_copy(update={"train": path, "holdout": None}), root, seed, folder)[0]

    if any(path is not None and _of_lines(path, config) for path in (config.train, config.holdout)):
        return _each(config, root, read)
    return found_in(table, root, seed, folder)


def _each(
    config: FolderData | FilesData, root: Path, read: Callable[[Path, Path], Found]
) -> tuple[Found, Found | None]:
    return read(config.train, root), read(config.holdout, root) if config.holdout else None


def _of_lines(path: Path, config: FilesData) -> bool:
    """Whether a file has one text a line: a .txt file, unless the recipe says that it has columns."""
    return path.suffix == ".txt" and not COLUMNS & config.model_fields_set


def _rows(found: tuple[Found, Found | None], config: AnyData, folder: Path | None) -> tuple[Rows, Rows | None]:
    def bare(part: Found) -> Rows:
        return replace(usable(part, config, folder=folder, labelled=False), labels=[], classes=None)

    train, holdout = found
    return bare(train), bare(holdout) if holdout else None


def require_answers(train: Rows, labels: tuple[str, ...], least: int) -> None:
    """Raise DataError unless a teacher gave two of its labels to `least` rows each; say which labels it did not."""
    counts = Counter(label for _, label in train.named)
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


def _lines(path: Path, root: Path, encoding: str | None, folder: Path | None) -> Found:
    """One text a line; empty lines are passed over."""
    full = existing(path, root)
    name, note = encoding_of(lambda: blocks(full), str(full), encoding)
    texts, numbers, done = GrowingTexts(folder), array("q"), 0
    with progress(f"{path.name} read", total=full.stat().st_size) as advance:
        for piece in whole_lines(texts_in(blocks(full, advance), name, str(full))):
            lines = [line.strip() for line in f"{piece}\n".splitlines()]
            texts.extend([line for line in lines if line])
            numbers.extend(number for number, line in enumerate(lines, start=done + 1) if line)
            done += len(lines)
    notes = [note] if note else []
    if len(numbers) < done:
        notes.append(f"left out: {counted(done - len(numbers), 'empty line')}")
    ids = Lazy(len(numbers), lambda place: f"{path.name}:{numbers[place]}")
    return Found("text", texts.done(), [], ids, full.name, "text", notes=notes)


def _images(path: Path, root: Path) -> Found:
    """All images below a folder, however they are laid out; hidden files and folders are passed over."""
    full = existing(path, root)
    if not full.is_dir():
        raise DataError(f'data {full} must be a folder of images where labels = "teacher", got a file; unpack it')
    there = [file for file in sorted(full.rglob("*")) if file.is_file()]
    seen = [file for file in there if not any(is_hidden(part) for part in file.relative_to(full).parts)]
    files = [file for file in seen if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(f"data {full} has no images in it; bring .jpg, .png, .webp and the like")
    left_out = len(there) - len(files)
    notes = [f"left out: {counted(left_out, 'file')}, hidden or no images"] if left_out else []
    ids = [file.relative_to(full).as_posix() for file in files]
    return Found("image", files, [], ids, full.name, "image", notes=notes)
