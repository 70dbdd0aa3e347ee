"""What the rows of a data source are like: labels, lengths, sizes, duplicates, leaks. No text leaves this module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from optimize.data.content import keys_of
from optimize.data.groups import Keys, contradicting, first_rows, grouped
from optimize.data.image_file import ImageFile
from optimize.data.rows import Kind, Rows
from serving.model.image_header import read_header

MEASURED_ROWS = 20_000
"""Rows whose lengths or sizes are measured; more of them hardly move a quantile."""
OUT_OF_BALANCE = 10
"""Times as many rows as the rarest label has, from which the most frequent one is said to outweigh it."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of texts [rows], in `unit`."""

    unit: str
    values: NDArray[np.int64]

    def quantile(self, share: float) -> int:
        """The least length that so large a share of the rows does not exceed."""
        return int(np.quantile(self.values, share, method="higher"))

    def longer_than(self, length: int) -> float:
        """The share of rows that are longer."""
        return float((self.values > length).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the data: the rows to train on, or the holdout.

    `duplicates` are rows beyond the first of each group of near-duplicates, `contradictory` rows whose near-duplicate
    has another label.
    """

    rows: int
    labels: Counter[str]
    duplicates: int
    contradictory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What there is to know of a data source before a recipe is written for it."""

    kind: Kind
    pairs: bool
    labelled: bool
    train: Part
    holdout: Part | None
    leaked: int
    """Rows to train on whose near-duplicate stands in the holdout; a run leaves them out."""
    lengths: Lengths | None
    """Of texts."""
    sizes: NDArray[np.int64] | None
    """Of images [rows, 2]: width and height."""
    notes: tuple[str, ...]

    @property
    def labels(self) -> Counter[str]:
        """The rows to train on by label."""
        return self.train.labels

    @property
    def imbalance(self) -> float:
        """How many times as many rows the most frequent label has as the rarest."""
        counts = self.labels.values()
        return max(counts) / min(counts) if counts else 1.0


def facts_of(
    train: Rows, holdout: Rows | None, *, labelled: bool, tokenizer: PreTrainedTokenizerBase | None = None
) -> DataFacts:
    """Look at rows. Lengths are in tokens of `tokenizer`, without one in words."""
    keys = keys_of(train)
    held = keys_of(holdout) if holdout else keys[:0]
    texts = train.kind == "text"
    sample = _sample(train.inputs)
    return DataFacts(
        kind=train.kind,
        pairs=texts and not isinstance(train.inputs[0], str),
        labelled=labelled,
        train=part_of(train, keys, labelled=labelled),
        holdout=part_of(holdout, held, labelled=labelled) if holdout else None,
        leaked=int(np.isin(keys, held).sum()),
        lengths=lengths_of(sample, tokenizer) if texts else None,
        sizes=None if texts else np.array([_size(image) for image in sample], dtype=np.int64),
        notes=(*train.notes, *(holdout.notes if holdout else ())),
    )


def lengths_of(texts: Sequence[Any], tokenizer: PreTrainedTokenizerBase | None) -> Lengths:
    """Lengths in tokens, those that begin and end a text included; without a tokeniser in words."""
    if tokenizer is None:
        joined = [text if isinstance(text, str) else " ".join(text) for text in texts]
        return Lengths("words", np.array([len(text.split()) for text in joined], dtype=np.int64))
    given = [list(texts)] if isinstance(texts[0], str) else [list(column) for column in zip(*texts, strict=True)]
    ids = tokenizer(*given, truncation=False, verbose=False)["input_ids"]
    return Lengths("tokens", np.array([len(row) for row in ids], dtype=np.int64))


def _sample(rows: Sequence[Any]) -> list[Any]:
    step = -(-len(rows) // MEASURED_ROWS)
    return list(rows[::step])


def _size(image: ImageFile | NDArray[np.uint8]) -> tuple[int, int]:
    if isinstance(image, ImageFile):
        return read_header(image.read(), image.name).size
    return image.shape[1], image.shape[0]


def part_of(rows: Rows, keys: Keys, *, labelled: bool) -> Part:
    """Labels and duplicates of rows, whose near-duplicates have equal `keys`."""
    groups = grouped(keys)
    contradictory = int(contradicting(groups, map(str, rows.labels)).sum()) if labelled else 0
    return Part(
        rows=len(keys),
        labels=Counter(label for each in rows.labels for label in each_label(each)) if labelled else Counter(),
        duplicates=len(keys) - len(first_rows(groups)),
        contradictory=contradictory,
    )


def each_label(of_row: Any) -> tuple[str, ...]:
    """The labels of a row: one, or a set."""
    return (of_row,) if isinstance(of_row, str) else tuple(of_row)
