"""A profile as tables, for a terminal and as Markdown for docs/profiling.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from optimize.profiling.operators import TOP
from optimize.progress import console

# The shapes of a PyTorch operator can be wider than a terminal.
_NAME_CHARACTERS = 64
BUSY = 0.5
"""Load average before a measurement above which other work may have disturbed it."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table, with a note below it."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def sheets(facts: Mapping[str, Any]) -> Iterator[Sheet]:
    """All tables of a profile.json."""
    for variant, found in facts["variants"].items():
        title = f"{facts['name']} {variant}"
        yield _stages(title, found)
        yield from _operators(title, found["operators"], "nodes")
        yield _curve(title, facts, found)
    for name, found in facts["checkpoints"].items():
        yield from _operators(f"{facts['name']}: {name} in PyTorch", found, "operators")
    yield _knees(facts)


def tell(facts: Mapping[str, Any]) -> None:
    """Print the tables."""
    for sheet in sheets(facts):
        table = Table(title=sheet.title, caption=sheet.note, caption_justify="left", title_justify="left")
        for place, column in enumerate(sheet.columns):
            table.add_column(column, justify="left" if place == 0 else "right")
        for row in sheet.rows:
            table.add_row(*(Text(value) for value in row))  # brackets of shapes are not markup
        console.print(table)
    if facts["load_average_before"] > BUSY:
        console.print(f"mind: load {facts['load_average_before']:g} before this began; the spread may be other work's")
    if facts["build_is_of_this_artifact"] is False:
        console.print("mind: the build folder made another version of this model; its shapes may be the same")


def markdown(facts: Mapping[str, Any]) -> str:
    """Operators by type and knees of a profile.json, as Markdown."""
    lines = []
    for sheet in (sheet for sheet in sheets(facts) if {"type", "knee"} & set(sheet.columns)):
        lines += [f"**{sheet.title}**", "", f"| {' | '.join(sheet.columns)} |"]
        lines.append(f"| --- |{' ---: |' * (len(sheet.columns) - 1)}")
        lines += [f"| {' | '.join(row)} |" for row in sheet.rows]
        lines += ["", *([sheet.note, ""] if sheet.note else [])]
    return "\n".join(lines)


def shape(batch_size: int, length: int) -> str:
    """Batch size and length in words."""
    return f"batch size {batch_size}" + (f", {length} tokens" if length else "")


def _stages(title: str, found: Mapping[str, Any]) -> Sheet:
    cell = shape(found["operators"]["batch_size"], found["operators"]["length"])
    rows = [(name, spread(row)) for name, row in found["stages"].items()]
    return Sheet(f"{title}: stages at {cell}", ("stage", "ms (quartiles)"), rows)


def _operators(title: str, found: Mapping[str, Any], what: str) -> Iterator[Sheet]:
    cell = shape(found["batch_size"], found["length"])
    outside = found[f"share_not_in_{what}"]
    note = (
        f"{outside:.1%} of the time is not in {what}; a run took {found['traced_ms']:.2f} ms with the trace and "
        f"{found['untraced_ms']:.2f} without (medians of {found['runs']})."
    )
    for table, kind in (("by_type", "type"), ("by_node", "node" if what == "nodes" else "shapes")):
        rows = [
            (_short(row["name"]), f"{row['calls']:g}", f"{row['ms']:.3f}", f"{row['share']:.1%}")
            for row in found[table]
        ]
        columns = (kind, "calls a run", "ms a run", "share")
        yield Sheet(f"{title}: the {TOP} most expensive operators by {kind}, {cell}", columns, rows, note)


def _curve(title: str, facts: Mapping[str, Any], found: Mapping[str, Any]) -> Sheet:
    rows = []
    knees = {knee["length"]: knee for knee in found["knees"]}
    for row in found["curve"]:
        at_knee = knees[row["length"]]["batch_size"] == row["batch_size"]
        rows.append(
            (
                str(row["length"] or "image"),
                str(row["batch_size"]),
                spread(row),
                f"{row['p90_ms']:.2f}",
                f"{row['items_per_s']:.0f}",
                "knee" if at_knee else "",
            )
        )
    title = f"{title}: batch size, {facts['rounds']} rounds in turn, {facts['threads']} thread(s)"
    return Sheet(title, ("tokens", "batch size", "ms (quartiles)", "p90 ms", "items/s", ""), rows)


def _knees(facts: Mapping[str, Any]) -> Sheet:
    rows = []
    for variant, found in facts["variants"].items():
        for knee in found["knees"]:
            at = {row["batch_size"]: row for row in found["curve"] if row["length"] == knee["length"]}
            one, best = at[min(at)], max(at.values(), key=lambda row: row["items_per_s"])
            chosen = at.get(knee["batch_size"])
            rows.append(
                (
                    f"{variant}, {knee['length'] or 'image'}{' tokens' if knee['length'] else ''}",
                    f"{one['median_ms']:.2f}",
                    f"{one['items_per_s']:.0f}",
                    str(knee["batch_size"] or "none"),
                    f"{chosen['median_ms']:.2f}" if chosen else "",
                    f"{chosen['items_per_s']:.0f}" if chosen else "",
                    f"{best['items_per_s']:.0f} at {best['batch_size']}",
                    knee["reason"],
                )
            )
    columns = (
        "shape",
        "ms at batch size 1",
        "items/s",
        "knee",
        "ms there",
        "items/s there",
        "most items/s",
        "why there",
    )
    note = f"Knees: {facts['knee_method']}. Medians of {facts['rounds']} rounds in turn, {facts['threads']} thread(s)."
    return Sheet(f"{facts['name']}: what batches gain", columns, rows, note)


def spread(row: Mapping[str, float]) -> str:
    """Median and quartiles in ms, with three digits below 1 ms."""
    digits = 3 if row["median_ms"] < 1 else 2
    lower, upper = (f"{row[f'{side}_quartile_ms']:.{digits}f}" for side in ("lower", "upper"))
    return f"{row['median_ms']:.{digits}f} ({lower} to {upper})"


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 1]}…"
