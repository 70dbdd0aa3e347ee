"""Rules about labels and duplicates: spellings, how many labels, how many rows each, and rows that contradict."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import numpy as np

from optimize.data.content import content_digest
from optimize.data.groups import contradicting, grouped, key_of
from optimize.data.rows import Rows
from optimize.data.said import MOST_CHARACTERS, counted, listed, nearest, row_of, short, tell
from optimize.data.sequences import chosen
from optimize.data.sources import AnyData
from optimize.data.targets import LabelSet
from optimize.errors import DataError
from serving.model.text import TextPair

MOST_LABELS = 1_000
# With fewer labels than this, many labels for few rows are only rare labels.
FEW_LABELS = 20
OTHER = "other"


def checked(train: Rows, holdout: Rows | None, config: AnyData) -> tuple[Rows, Rows | None]:
    """The rows with labels as `config` wants them: variants merged, rare labels put together or left out.

    Raises DataError where it wants them refused, for labels that are none, and for too many contradictory rows.
    """
    parts = [train, *([holdout] if holdout else [])]
    _require_labels(parts, config)
    parts = _one_spelling(parts, config)
    parts = _without_rare(parts, config)
    parts = [_noting_contradictions(part, config.max_contradictory_share) for part in parts]
    return parts[0], parts[1] if holdout else None


def _require_labels(parts: Sequence[Rows], config: AnyData) -> None:
    """Refuse a column that holds something else than labels."""
    for part in parts:
        if part.classes is not None:
            continue
        counts = Counter(label for _, label in part.named if label not in (config.labels or ()))
        each = len(counts) > max(len(part.labels) / 2, FEW_LABELS)
        if not each and len(counts) <= MOST_LABELS:
            continue
        numbers = sum(_is_number(label) for label in counts) > len(counts) / 2
        long = sum(map(len, counts)) > MOST_CHARACTERS * len(counts)
        reason = "numbers, and a number for each row is no label" if numbers else "texts" if long else "names"
        raise DataError(
            f"data {part.source}: the labels must be 2 to {MOST_LABELS:,} names that rows share, got {len(counts):,} "
            f"different {reason} in {len(part.labels):,} rows; name the column of labels, or put labels together"
        )


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _one_spelling(parts: Sequence[Rows], config: AnyData) -> list[Rows]:
    """Labels that differ in case or white space alone: refused, merged into the most frequent one, or kept and said."""
    counts = Counter(label for part in parts for _, label in part.named)
    groups: dict[str, list[str]] = defaultdict(list)
    for label, _ in counts.most_common():
        groups["".join(label.casefold().split())].append(label)
    variants = [group for group in groups.values() if len(group) > 1]
    if not variants:
        return list(parts)
    said = listed(" and ".join(f"{short(label)!r} ({counts[label]:,})" for label in group[:3]) for group in variants)
    sentence = f"labels that differ in case or spaces alone: {said}"
    if config.label_variants == "refuse":
        raise DataError(
            f'data {parts[0].source}: {sentence}; spell them alike, or set label_variants = "merge" or "keep"'
        )
    if config.label_variants == "keep":
        return [_told(parts[0], f"{sentence}; kept apart"), *parts[1:]]
    chosen = {label: group[0] for group in variants for label in group}
    merged = [_relabelled(part, lambda label: chosen.get(label, label)) for part in parts]
    return [_told(merged[0], f"{sentence}; read as the most frequent one"), *merged[1:]]


def _without_rare(parts: Sequence[Rows], config: AnyData) -> list[Rows]:
    """Labels with too few rows to train on: refused, put together as `other`, or left out."""
    train = parts[0]
    counts = Counter(label for _, label in train.named)
    if config.rare_labels != "refuse":
        counts.update(dict.fromkeys(train.classes or (), 0))  # a class without rows is rare as well
    least = config.min_rows_per_label
    rare = sorted((label for label in counts if counts[label] < least), key=lambda label: (counts[label], label))
    if len(counts) < 2 or not rare:
        return list(parts)
    said = listed(_rare(label, counts) for label in rare)
    sentence = f"{len(rare):,} of {len(counts):,} labels with fewer than {least} rows to train on: {said}"
    if config.rare_labels == "refuse":
        raise DataError(
            f'data {train.source}: {sentence}; bring more rows, or set rare_labels = "other" or "leave-out"'
        )
    gone = set(rare) - {OTHER}
    if isinstance(config.labels, tuple) and not gone.isdisjoint(config.labels):
        raise DataError(
            f'data {train.source}: {sentence}; rare_labels = "{config.rare_labels}" takes these out of the labels, and '
            "`labels` lists them; take them out of `labels` too, or bring more rows"
        )
    if config.rare_labels == "leave-out":
        kept = [_relabelled(part, lambda label: None if label in gone else label) for part in parts]
        what = "taken out of the rows' label sets" if config.multi_label else "left out with their rows"
        return [_told(kept[0], f"{sentence}; {what}"), *kept[1:]]
    kept = [_relabelled(part, lambda label: OTHER if label in gone else label, OTHER) for part in parts]
    if (together := sum(label == OTHER for _, label in kept[0].named)) < least:
        raise DataError(
            f"data {train.source}: {sentence}; together they have {together}, too few for a label {OTHER!r}; set "
            'rare_labels = "leave-out", or bring more rows'
        )
    return [_told(kept[0], f"{sentence}; put together as {OTHER!r}"), *kept[1:]]


def _rare(label: str, counts: Counter[str]) -> str:
    often = [other for other, count in counts.items() if count > counts[label]]
    close = None if label.isdecimal() else nearest(label, often)
    return f"{short(label)!r} ({counts[label]}{f'; {short(close)!r} is near' if close else ''})"


def _relabelled(rows: Rows, new: Callable[[str], str | None], added: str | None = None) -> Rows:
    """The rows with other labels, without those whose new label is None; a label set loses that label alone."""
    labels = [new(label) if isinstance(label, str) else _renamed(label, new) for label in rows.labels]
    kept = np.array([place for place, label in enumerate(labels) if label is not None], dtype=np.int64)
    classes = rows.classes
    if classes is not None:
        named = [new(name) for name in (*classes, *([added] if added else []))]
        classes = tuple(dict.fromkeys(name for name in named if name is not None))
    whole = len(kept) == len(labels)
    return dataclasses.replace(
        rows,
        inputs=rows.inputs if whole else chosen(rows.inputs, kept),
        labels=cast("list[str] | list[LabelSet]", [label for label in labels if label is not None]),
        ids=rows.ids if whole else chosen(rows.ids, kept),
        classes=classes,
    )


def _renamed(labels: LabelSet, new: Callable[[str], str | None]) -> LabelSet:
    return tuple(dict.fromkeys(name for label in labels if (name := new(label)) is not None))


def _noting_contradictions(rows: Rows, most: float) -> Rows:
    """The rows, with a note of those whose input stands there with another label too. Refuses more than `most`."""
    size = len(rows.labels)
    groups = grouped(np.fromiter((key_of(_identity(content)) for content in rows.inputs), np.uint64, size))
    mixed = contradicting(groups, map(_answer, rows.labels))
    if not mixed.any():
        return rows
    count = int(mixed.sum())
    first = [np.flatnonzero(groups == group)[:2].tolist() for group in np.unique(groups[mixed])[:2]]
    pairs = listed(" and ".join(row_of(rows.ids[place]) for place in places) for places in first)
    share = count / size
    sentence = f"{counted(count, 'row')} ({share:.2%}) with the input of another row and not its label, such as {pairs}"
    if share > most:
        raise DataError(
            f"data {rows.source}: {sentence}; at most {most:.2%} may: mend the labels, or raise max_contradictory_share"
        )
    return _told(rows, sentence)


def _answer(label: str | LabelSet) -> Hashable:
    return label if isinstance(label, str) else frozenset(label)


def _identity(content: Any) -> bytes:
    """Equal for equal images, and for texts and pairs of texts that differ in case and white space alone."""
    if isinstance(content, str):
        return " ".join(content.casefold().split()).encode("utf-8", "surrogatepass")
    if isinstance(content, TextPair):
        return b"\n".join(map(_identity, content))  # white space stands in neither
    return content_digest(content)


def _told(rows: Rows, sentence: str) -> Rows:
    tell(rows.source, sentence)
    return dataclasses.replace(rows, notes=(*rows.notes, sentence))
