"""Split data into train, calibration, selection, certification and holdout, and check that they are disjoint.

Each split has one use. Train: the weights. Calibration: the quantizer's ranges. Selection: every choice, of variant,
trial and temperature. Certification: the deferral threshold, whose promise needs items that nothing else was chosen on.
Holdout: the reported numbers.

Near-duplicates stay in one split: texts that are equal once case, digits and white space are folded, pairs of such
texts in either order, and images with equal content.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from optimize.data.checks import checked
from optimize.data.content import content_digest, keys_of
from optimize.data.groups import Keys, distinct, first_rows, grouped
from optimize.data.label_names import MIN_PER_LABEL, label_names
from optimize.data.readers import DataConfig, Rows, read_rows
from optimize.data.sequences import chosen
from optimize.data.targets import counts_of, strata_of, targets_of
from optimize.data.unlabelled import Labeller, read_unlabelled, require_answers
from optimize.errors import DataError
from serving.model.head import Decisions

SplitName = Literal["train", "calibration", "selection", "certification", "holdout"]
LabelsFrom = Literal["data", "teacher"]


@dataclass(frozen=True)
class Split:
    """One named split."""

    name: SplitName
    inputs: Sequence[Any]
    """Texts, pairs of texts, image files, or pixels uint8 [height, width, channels]."""
    targets: Decisions
    """Label indices [items], or label sets bool [items, labels]."""
    ids: Sequence[str]
    keys: Keys
    """One key for each group of near-duplicates; disjoint between splits."""
    labels_from: LabelsFrom = "data"
    """Whether the targets are labels of the data, or the teacher's own answers."""

    @property
    def multi_label(self) -> bool:
        """Whether an item may have several labels, or none."""
        return self.targets.ndim == 2

    def __len__(self) -> int:
        return len(self.targets)

    def label_counts(self, labels: Sequence[str]) -> dict[str, int]:
        """How many items have each of the `labels`, in their order."""
        return dict(zip(labels, counts_of(self.targets, len(labels)).tolist(), strict=True))

    @cached_property
    def digest(self) -> str:
        """sha256 over content, targets and ids, in order."""
        digest = hashlib.sha256(np.ascontiguousarray(self.targets).data)
        for place, row_id in enumerate(self.ids):
            digest.update(f"\n{row_id}".encode() if place else row_id.encode())
        for content in self.inputs:
            digest.update(content_digest(content))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits of a data set."""

    kind: Literal["text", "image"]
    labels: tuple[str, ...]
    train: Split
    calibration: Split
    selection: Split
    certification: Split
    holdout: Split
    source: str
    synthetic: bool
    notes: tuple[str, ...] = ()
    """What was left out, merged or found out while the rows were read."""

    @property
    def labels_from(self) -> LabelsFrom:
        return self.train.labels_from

    def describe(self) -> dict[str, Any]:
        """Sizes, digests and class counts of each split, as JSON values."""
        return {
            "source": self.source,
            "synthetic": self.synthetic,
            # Left out where it is the usual, since keys of results are made of this.
            **({} if self.labels_from == "data" else {"labels_from": self.labels_from}),
            "labels": list(self.labels),
            **({"problem": "multi-label"} if self.multi_label else {}),
            "splits": {
                split.name: {
                    "size": len(split),
                    "digest": split.digest,
                    "label_counts": {name: n for name, n in split.label_counts(self.labels).items() if n},
                }
                for split in self.all
            },
        }

    @property
    def multi_label(self) -> bool:
        return self.train.multi_label

    def named(self, name: SplitName) -> Split:
        """The split of that name."""
        return {split.name: split for split in self.all}[name]

    @property
    def all(self) -> tuple[Split, ...]:
        return (self.train, self.calibration, self.selection, self.certification, self.holdout)


def load_splits(
    config: DataConfig, *, seed: int, root: Path, folder: Path | None = None, labeller: Labeller | None = None
) -> Splits:
    """Read the data that `config` names and split it; relative paths start at `root`, and `folder` is the build's.

    Where the source has its own holdout, train rows with a near-duplicate in it are left out. With `labels = "teacher"`
    the rows get their labels from `labeller`. Raises DataError when a file or column is missing, a row has no content
    or label, or a label has too few rows.
    """
    rng = np.random.default_rng(seed)
    if config.labels == "teacher":
        assert labeller is not None, "the build brings the teacher"
        # The teacher answers only the rows that are kept, so these are drawn before the labels are known.
        parts = [
            _limited(part, config.limit, rng)
            for part in read_unlabelled(config, root=root, seed=seed, folder=folder)
            if part
        ]
        parts = [replace(part, labels=labeller.answer(part)) for part in parts]
        train, holdout = parts[0], parts[1] if len(parts) > 1 else None
        labels, limit = labeller.labels, None
        require_answers(train, labels, MIN_PER_LABEL)
    else:
        train, holdout = checked(*read_rows(config, root=root, seed=seed, folder=folder), config)
        labels, limit = label_names(config.labels, train, holdout), config.limit
    return _split(config, train, holdout, labels, limit, rng)


def _split(
    config: DataConfig,
    train: Rows,
    holdout: Rows | None,
    labels: tuple[str, ...],
    limit: int | None,
    rng: np.random.Generator,
) -> Splits:
    index = {label: position for position, label in enumerate(labels)}
    labels_from: LabelsFrom = "teacher" if config.labels == "teacher" else "data"
    pool = _Pool(train, index, labels_from)
    if holdout is None:
        held = copy(pool)
        held.left = pool.carve(round(config.holdout_share * len(pool)), rng, left_for=3)
    else:
        held = _Pool(holdout, index, labels_from)
        pool.drop(held.left_keys())
        held.left = held.take(limit, rng)
    pool.left = pool.take(limit, rng)
    source = pool if config.selection_from == "train" else held
    size = len(source)
    selection = source.split("selection", source.carve(round(config.selection_share * size), rng, left_for=2))
    certification = source.split(
        "certification", source.carve(round(config.certification_share * size), rng, left_for=1)
    )
    calibration = pool.split("calibration", pool.carve(min(config.calibration_size, len(pool) // 4), rng, left_for=1))
    rest = pool.split("train", pool.left)
    splits = Splits(
        kind=train.kind,
        labels=labels,
        train=rest,
        calibration=calibration,
        selection=selection,
        certification=certification,
        holdout=held.split("holdout", held.left),
        source=train.source,
        synthetic=train.synthetic,
        notes=(*train.notes, *(holdout.notes if holdout else ())),
    )
    _prove(splits)
    return splits


def _limited(rows: Rows, limit: int | None, rng: np.random.Generator) -> Rows:
    """About `limit` rows without labels, in whole groups of near-duplicates."""
    pool = _Pool(replace(rows, labels=[""] * len(rows.ids)), {"": 0})
    places = pool.take(limit, rng)
    return replace(rows, inputs=chosen(rows.inputs, places), ids=chosen(rows.ids, places))


class _Pool:
    """Rows that are in no split yet."""

    def __init__(self, rows: Rows, index: dict[str, int], labels_from: LabelsFrom = "data") -> None:
        self.rows, self.labels_from = rows, labels_from
        self.targets = targets_of(rows.labels, index)
        self.strata = strata_of(self.targets, len(index))
        self.keys = keys_of(rows)
        self.left = np.arange(len(self.targets))

    def __len__(self) -> int:
        return len(self.left)

    def left_keys(self) -> Keys:
        return self.keys[self.left]

    def drop(self, keys: Keys) -> None:
        self.left = self.left[~np.isin(self.left_keys(), keys)]

    def take(self, limit: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
        """All rows left, or about `limit` of them in whole groups, with the labels' shares kept; removes none.

        A rare label keeps enough rows for every split.
        """
        if limit is None or limit >= len(self.left):
            return self.left
        before = self.left
        chosen = self.carve(limit, rng, at_least=MIN_PER_LABEL)
        self.left = before
        return chosen

    def carve(self, size: int, rng: np.random.Generator, *, at_least: int = 1, left_for: int = 0) -> NDArray[np.int64]:
        """Remove and return about `size` rows in whole groups, with the labels' shares kept.

        A group counts for the label of its first row; a label set for its rarest. Each label gives `at_least` so many
        groups, and keeps one for each of the `left_for` splits that are still to come and need every label (calibration
        does not).
        """
        groups = grouped(self.left_keys())
        sizes = np.bincount(groups)
        strata = self.strata[self.left]
        label_of = strata[first_rows(groups)]
        share = size / max(len(self.left), 1)
        counts = {label: count for label, count in enumerate(np.bincount(strata).tolist()) if count}
        wanted = {label: round(share * count) for label, count in counts.items()}
        owed = dict.fromkeys(counts, at_least)
        spare = Counter(label_of.tolist())
        spare.subtract(dict.fromkeys(spare, left_for))
        chosen = np.zeros(len(sizes), dtype=np.bool_)
        for group in rng.permutation(len(sizes)):
            label = int(label_of[group])
            if (wanted[label] > 0 or owed[label] > 0) and spare[label] > 0:
                wanted[label] -= int(sizes[group])
                owed[label] -= 1
                spare[label] -= 1
                chosen[group] = True
        taken = chosen[groups]
        rows, self.left = self.left[taken], self.left[~taken]
        return rows

    def split(self, name: SplitName, rows: NDArray[np.int64]) -> Split:
        return Split(
            name=name,
            inputs=chosen(self.rows.inputs, rows),
            targets=self.targets[rows],
            ids=chosen(self.rows.ids, rows),
            keys=distinct(self.keys[rows]),
            labels_from=self.labels_from,
        )


def _prove(splits: Splits) -> None:
    for part in splits.all:
        if not len(part):
            raise DataError(f"{splits.source}: the {part.name} split came out empty; bring more rows")
    for position, one in enumerate(splits.all):
        for other in splits.all[position + 1 :]:
            if np.intersect1d(one.keys, other.keys, assume_unique=True).size:
                raise DataError(f"{splits.source}: {one.name} and {other.name} share near-duplicates; report this")
