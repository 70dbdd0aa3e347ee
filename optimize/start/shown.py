"""What `inspect` prints: tables of figures, and sentences. No text of the user's is among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.table import Table

from optimize.data.said import short, tell
from optimize.progress import console
from optimize.start.facts import OUT_OF_BALANCE, DataFacts, Lengths
from optimize.start.promises import DELTA, MISSES, bounds, least_items, split_sizes
from optimize.start.source import Source

LABELS_SHOWN = 12
QUANTILES = (0.5, 0.9, 0.99, 1.0)
CUTS = (64, 128, 256, 512)
ALPHAS_SHOWN = (0.01, 0.02, 0.05)

Titled = tuple[str, Table]


def show(source: Source, facts: DataFacts) -> None:
    """Print what was found."""
    for note in source.notes:
        tell(source.name, note)
    for sentence in remarks(source, facts):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    tables = [_rows(facts), *([_labels(facts)] if facts.labelled else [])]
    tables += [_sizes(facts)] if facts.lengths is None else [_lengths(facts.lengths), _cuts(facts.lengths)]
    for title, table in (*tables, _promises(source, facts)):
        # A title of rich's would be folded to the width of its table.
        console.print(f"\n{title}", markup=False, highlight=False, soft_wrap=True)
        console.print(table)


def remarks(source: Source, facts: DataFacts) -> Iterator[str]:
    """Sentences on what deserves a look."""
    if facts.labelled and facts.imbalance >= OUT_OF_BALANCE:
        rarest = min(facts.labels, key=lambda label: facts.labels[label])
        yield (
            f"labels are out of balance: the most frequent one has {facts.imbalance:.0f} times as many rows as "
            f'{short(rarest)!r}; look at the recall of each label, and consider class_weights = "balanced"'
        )
    if facts.train.contradictory:
        yield f"{facts.train.contradictory:,} rows have a near-duplicate with another label; mend the labels"
    if facts.leaked:
        yield (
            f"{facts.leaked:,} rows to train on have a near-duplicate in the holdout; a run leaves them out of training"
        )
    settings = {"bad_rows", "label_variants", "rare_labels", "max_contradictory_share"} & set(source.table)
    if settings:
        wanted = ", ".join(f"{name} = {source.table[name]!r}" for name in sorted(settings))
        yield f"a run refuses these rows as they are; mend them, or set {wanted} in [data], as `new` does"


def _table(*columns: str) -> Table:
    table = Table()
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    return table


def _rows(facts: DataFacts) -> Titled:
    table = _table("", "train", *(["holdout"] if facts.holdout else []))
    parts = [facts.train, *([facts.holdout] if facts.holdout else [])]
    table.add_row("rows", *(f"{part.rows:,}" for part in parts))
    if facts.labelled:
        table.add_row("labels", *(f"{len(part.labels):,}" for part in parts))
    table.add_row("near-duplicates beyond the first", *(f"{part.duplicates:,}" for part in parts))
    if facts.labelled:
        table.add_row("near-duplicates with another label", *(f"{part.contradictory:,}" for part in parts))
    if facts.holdout:
        table.add_row("near-duplicates in the holdout", f"{facts.leaked:,}", "")
    return "rows", table


def _labels(facts: DataFacts) -> Titled:
    table = _table("label", "rows", "share", *(["holdout"] if facts.holdout else []))
    counts = facts.labels.most_common()
    # Of many labels the most frequent and the rarest tell most.
    half = LABELS_SHOWN // 2
    shown = counts if len(counts) <= LABELS_SHOWN else [*counts[:half], None, *counts[-half:]]
    for entry in shown:
        if entry is None:
            table.add_row(f"… {len(counts) - LABELS_SHOWN:,} more", "", "", *([""] if facts.holdout else []))
            continue
        label, count = entry
        held = [f"{facts.holdout.labels[label]:,}"] if facts.holdout else []
        table.add_row(short(label), f"{count:,}", f"{count / facts.train.rows:.1%}", *held)
    return "labels", table


def _lengths(lengths: Lengths) -> Titled:
    table = _table("share of the texts", *(f"{share:.0%}" for share in QUANTILES))
    table.add_row("have at most", *(f"{lengths.quantile(share):,}" for share in QUANTILES))
    return f"lengths in {lengths.unit}", table


def _cuts(lengths: Lengths) -> Titled:
    """With words, which have one token or more each, a lower bound."""
    least = "" if lengths.unit == "tokens" else ", at least (a word has one token or more: give --checkpoint)"
    table = _table("max_tokens", *map(str, CUTS))
    table.add_row("cut", *(f"{lengths.longer_than(cut):.1%}" for cut in CUTS))
    return f"texts that max_tokens would cut{least}", table


def _sizes(facts: DataFacts) -> Titled:
    assert facts.sizes is not None, "images have sizes"
    table = _table("", "least", "middle", "largest")
    for name, values in zip(("width", "height"), facts.sizes.T, strict=True):
        table.add_row(name, *(f"{int(np.quantile(values, share, method='higher')):,}" for share in (0.0, 0.5, 1.0)))
    return "sizes of images in pixels", table


def _promises(source: Source, facts: DataFacts) -> Titled:
    holdout = facts.holdout.rows if facts.holdout else None
    items = split_sizes(facts.train.rows - facts.leaked, holdout, source.config)["certification"]
    table = _table("misses among them", *(str(misses) for misses in MISSES if misses < items))
    table.add_row("alpha", *(f"{bound:.2%}" for _, bound in bounds(items)))
    wanted = ", ".join(f"{alpha:.0%} takes {least_items(alpha):,}" for alpha in ALPHAS_SHOWN)
    title = f"what about {items:,} certification items can promise at {1 - DELTA:.0%} confidence"
    return f"{title} (without a miss, {wanted} items)", table
