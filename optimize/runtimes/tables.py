"""A comparison of runtimes as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from optimize.profiling.report import BUSY, spread
from optimize.progress import console
from optimize.runtimes.measure import fastest


def tell(facts: Mapping[str, Any]) -> None:
    """Print the table, the runtimes that are missing or failed, and which one was the fastest."""
    console.print(table(facts))
    for line in lines(facts):
        console.print(line, markup=False, highlight=False)


def table(facts: Mapping[str, Any]) -> Table:
    """A row for each runtime that ran: parity, ms with quartiles and speed-up by batch size, memory, start."""
    ran = [row for row in facts["runtimes"] if "batches" in row]
    sizes = sorted(ran[0]["batches"], key=int)
    length = f", {facts['length']} tokens" if facts["length"] else ""
    title = f"{facts['name']} {facts['variant']}{length}, {facts['threads']} thread(s)"
    columns = ("runtime", "gap", *(f"ms at {size}" for size in sizes), "MB (peak)", "start s")
    made = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place == 0 else "right")
    for row in ran:
        batches = [_cell(row["batches"][size]) for size in sizes]
        made.add_row(row["name"], _gap(row["parity"]), *batches, *memory_and_start(row))
    return made


def lines(facts: Mapping[str, Any]) -> Sequence[str]:
    """What stands below the table, a sentence each."""
    rows = facts["runtimes"]
    said = [f"{row['name']}: {row.get('missing') or row.get('failed')}" for row in rows if "batches" not in row]
    for size, name, ms in fastest(rows):
        said.append(f"the fastest at batch size {size} with the same answers: {name}, {ms:.3g} ms")
    if facts["alone"]:
        said.append("mind: this variant is served one item at a time, since its answers would depend on their company")
    if facts["load_average_before"] > BUSY:
        said.append(f"mind: load {facts['load_average_before']:g} before this began; the spread may be other work's")
    return said


def memory_and_start(row: Mapping[str, Any]) -> tuple[str, str]:
    """The megabytes of a runtime with the most that it held, and the seconds of its start."""
    return f"{row['memory_bytes'] / 1e6:.0f} ({row['peak_bytes'] / 1e6:.0f})", f"{row['start_ms'] / 1e3:.2f}"


def _cell(found: Mapping[str, float]) -> str:
    """Median, quartiles below it, then how many times as fast as ONNX Runtime."""
    return f"{spread(found).replace(' (', chr(10) + '(')}\n{found['speedup']:.2f} times"


def _gap(parity: Mapping[str, Any]) -> str:
    """The mean gap as a share of the logits' spread, and what else there is against it."""
    others = f"\n{parity['other_labels']} of {parity['items']} other" if parity["other_labels"] else ""
    return f"{parity['gap_share']:.2g}{others}" + ("" if parity["holds"] else "\nnot the same")
