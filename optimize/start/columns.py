"""Guess which columns of a table hold the texts, the images and the labels: by their names, then by what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from optimize.data.folders import IMAGE_SUFFIXES
from optimize.data.label_columns import flag_of, is_empty

TEXT = (
    *("text", "sentence", "review", "body", "message", "content", "comment", "tweet", "utterance", "sms", "query"),
    *("question", "document", "article", "headline", "title", "description", "post", "input"),
)
PAIRS = (
    *(("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2")),
    *(("text1", "text2"), ("text_a", "text_b"), ("query", "passage"), ("question", "sentence"), ("s1", "s2")),
)
LABEL = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "tag", "tags", "topic", "gold_label"),
    *("label_text", "class_name", "emotion", "y"),
)
IMAGE = ("image", "img", "picture", "photo", "image_path", "file_name", "filename", "file", "path")
MOST_LABELS = 1_000
# With fewer rows for each value than this, a column is no column of labels.
ROWS_PER_LABEL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns that count; `guessed` names those that no name stood for."""

    text: str | None = None
    text_pair: str | None = None
    image: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    """A column for each label, in the place of `label`."""
    guessed: tuple[str, ...] = ()


def guess(columns: Mapping[str, Sequence[object]], *, text: str | None = None, labels: Sequence[str] = ()) -> Columns:
    """The columns of a table, whose cells are given by name; `text` and `labels` are what the user says.

    There is no label where none of the columns can be one.
    """
    label = labels[0] if len(labels) == 1 else None
    several = () if label else tuple(labels)
    guessed: list[str] = []
    left = [name for name in columns if name not in (text, *labels)]
    pair = None
    if text is None:
        first, pair = _pair(left)
        text = first or _named(left, TEXT)
        left = [name for name in left if name not in (text, pair)]
    if not labels:
        label = _named([name for name in left if _could_label(columns[name], several=True)], LABEL)
    image = None
    if text is None:
        image = next((name for name in left if name != label and _holds_images(columns[name])), None)
        if image is None:
            text = _longest(columns, [name for name in left if name != label])
            guessed += [text] if text else []
        left = [name for name in left if name not in (text, image)]
    if label is None and not several:
        several = _flagged(columns, left)
        label = None if several else _fewest(columns, left)
        guessed += [*several, *([label] if label else [])]
    return Columns(text=text, text_pair=pair, image=image, label=label, labels=several, guessed=tuple(guessed))


def _folded(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _named(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_folded = {_folded(name): name for name in reversed(names)}
    return next((by_folded[name] for name in known if name in by_folded), None)


def _pair(names: Sequence[str]) -> tuple[str | None, str | None]:
    by_folded = {_folded(name): name for name in reversed(names)}
    return next(((by_folded[a], by_folded[b]) for a, b in PAIRS if a in by_folded and b in by_folded), (None, None))


def _holds_images(cells: Sequence[object]) -> bool:
    """Whether the first cells are the bytes of images, the hub's objects of them, or paths of image files."""
    there = [cell for cell in cells if cell is not None][:20]
    return bool(there) and all(
        isinstance(cell, bytes)
        or (isinstance(cell, dict) and ("bytes" in cell or "path" in cell))
        or (isinstance(cell, str) and PurePath(cell.strip()).suffix.lower() in IMAGE_SUFFIXES)
        for cell in there
    )


def _longest(columns: Mapping[str, Sequence[object]], names: Sequence[str]) -> str | None:
    lengths = {name: _mean_length(columns[name]) for name in names}
    return max((name for name in names if lengths[name]), key=lambda name: lengths[name], default=None)


def _mean_length(cells: Sequence[object]) -> float:
    texts = [cell for cell in cells if isinstance(cell, str) and not _is_number(cell)]
    return sum(map(len, texts)) / len(texts) if len(texts) > len(cells) / 2 else 0.0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _fewest(columns: Mapping[str, Sequence[object]], names: Sequence[str]) -> str | None:
    """The column with the fewest different values, of those that could be labels."""
    fitting = [name for name in names if _could_label(columns[name])]
    return min(fitting, key=lambda name: len(_values(columns[name])), default=None)


def _flagged(columns: Mapping[str, Sequence[object]], names: Sequence[str]) -> tuple[str, ...]:
    """The columns of 0 and 1 where there are several, as a table has them with one for each label."""
    flags = {name: {flag_of(cell) for cell in columns[name] if not is_empty(cell)} for name in names}
    # A column of 0 alone may be the one of a rare label.
    found = {name: there for name, there in flags.items() if there and None not in there}
    return tuple(found) if sum(len(there) > 1 for there in found.values()) > 1 else ()


def _could_label(cells: Sequence[object], *, several: bool = False) -> bool:
    """Whether rows share the values of a column; `several`: a list of labels in a cell will do, too."""
    if any(isinstance(cell, list | tuple) for cell in cells):
        return several
    if any(isinstance(cell, dict | bytes) for cell in cells):
        return False
    values = _values(cells)
    if several:  # its name says so
        return len(values) > 1
    return 1 < len(values) <= min(MOST_LABELS, max(len(cells) / ROWS_PER_LABEL, 2))


def _values(cells: Sequence[object]) -> set[object]:
    return {cell for cell in cells if cell is not None and cell == cell and cell != ""}


SEPARATORS = ("|", ";", ",")
SEVERAL_SHARE = 0.02
"""The share of cells with a separator from which a column is said to hold several labels a row."""


def separator_of(cells: Sequence[object]) -> str | None:
    """What stands between several labels in a cell; "" for lists. None where each row has one label.

    A separator inside a name makes more names than cells, one between labels makes fewer.
    """
    if any(isinstance(cell, list | tuple) for cell in cells):
        return ""
    texts = [cell for cell in cells if isinstance(cell, str) and cell]
    for separator in SEPARATORS:
        several = [cell for cell in texts if separator in cell]
        if len(several) <= SEVERAL_SHARE * len(texts):
            continue
        whole = set(texts)
        parts = {part.strip() for cell in texts for part in cell.split(separator)}
        alone = {cell.strip() for cell in texts if separator not in cell}
        if len(parts) < len(whole) and len(parts & alone) >= len(parts) / 2:
            return separator
    return None
