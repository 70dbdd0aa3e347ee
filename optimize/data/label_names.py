"""The labels of a data set, and their order."""

from __future__ import annotations

from collections import Counter

from optimize.data.rows import Rows
from optimize.data.said import listed, short, some
from optimize.errors import DataError

MIN_PER_LABEL = 5


def label_names(wanted: tuple[str, ...] | None, train: Rows, holdout: Rows | None) -> tuple[str, ...]:
    """All labels, in the order that is `wanted`, else the source's own, else sorted.

    Raises DataError when a row has another label, or when a label has fewer than MIN_PER_LABEL rows to train on.
    """
    counts = Counter(label for _, label in train.named)
    # Numbers sort by value: "2" before "10".
    order = sorted(counts, key=lambda label: (int(label) if label.isdecimal() else 0, label))
    labels = wanted or train.classes or tuple(order)
    for rows in (train, holdout):
        for row, label in rows.named if rows else ():
            if label not in labels:
                raise DataError(
                    f"{train.source}: {row}: the label {short(label)!r} is none of {some(labels)}; "
                    "mend the row, or name all labels in `labels`"
                )
    few = [label for label in labels if counts[label] < MIN_PER_LABEL]
    if len(labels) < 2 or few:
        found = listed(f"{short(label)}: {count}" for label, count in sorted(counts.items()))
        raise DataError(
            f"{train.source}: at least two labels with {MIN_PER_LABEL} rows each are needed for five splits, "
            f"got {found or 'no rows'}; bring more rows"
        )
    return labels
