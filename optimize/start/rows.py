"""Read the rows of a source for a look at them, and the settings that a run needs to take them as they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from optimize.data.checks import OTHER
from optimize.data.content import keys_of
from optimize.data.readers import read_rows
from optimize.data.rows import Rows
from optimize.data.unlabelled import read_unlabelled
from optimize.errors import DataError
from optimize.start.choosing import rounded_up
from optimize.start.facts import each_label, part_of
from optimize.start.source import Source

HERE = Path()
"""Relative paths of a recipe start at the current folder, as those on the command line do."""


def read(source: Source) -> tuple[Source, Rows, Rows | None]:
    """The rows, and the source with `bad_rows` where some cannot be used and are left out."""
    try:
        return source, *_read(source)
    except DataError:
        tolerant = source.with_settings(bad_rows="leave-out")
        return tolerant, *_read(tolerant)


def _read(source: Source) -> tuple[Rows, Rows | None]:
    reader = read_unlabelled if source.unlabelled else read_rows
    return reader(source.config, root=HERE, seed=0)


def settings_for(source: Source, train: Rows, holdout: Rows | None) -> dict[str, Any]:
    """Settings of [data] without which a run would refuse these rows."""
    if source.unlabelled:
        return {}
    counts = Counter(label for row in train.labels for label in each_label(row))
    settings: dict[str, Any] = dict(_spellings(counts))
    # A label that the source names and no row has is rare as well.
    counts.update(dict.fromkeys(train.classes or (), 0))
    settings |= _rare(_merged(counts) if settings else counts, source)
    share = part_of(train, keys_of(train), labelled=True).contradictory / len(train.ids)
    if share > source.config.max_contradictory_share:
        settings["max_contradictory_share"] = rounded_up(share)
    return settings


def _spellings(counts: Counter[str]) -> dict[str, str]:
    return {"label_variants": "merge"} if len(_merged(counts)) < len(counts) else {}


def _merged(counts: Counter[str]) -> Counter[str]:
    """Rows by label, where labels that differ in case and white space alone are one."""
    groups: dict[str, int] = defaultdict(int)
    for label, count in counts.items():
        groups["".join(label.casefold().split())] += count
    return Counter(groups)


def _rare(counts: Counter[str], source: Source) -> dict[str, str]:
    least = source.config.min_rows_per_label
    rare = [label for label, count in counts.items() if count < least]
    if not rare:
        return {}
    together = sum(counts[label] for label in rare) + counts[OTHER]
    # Of label sets a row may have several rare labels, so nobody knows how many rows they have together.
    return {"rare_labels": "other" if together >= least and not source.several else "leave-out"}
