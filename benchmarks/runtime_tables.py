"""Comparisons of runtimes (`python -m optimize runtimes`) as one Markdown table for docs/runtimes.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimize.profiling.report import spread
from optimize.runtimes.tables import memory_and_start


def runtime_tables(compared: Sequence[Mapping[str, Any]]) -> str:
    """A row for each runtime of each model and variant, and below them what could not run, and why.

    Beside each time, how many times as fast as ONNX Runtime on the CPU. In bold: the fastest with the same answers.
    """
    sizes = sorted({size for facts in compared for row in _ran(facts) for size in row["batches"]}, key=int)
    columns = ["model", "runtime", "gap", *(f"ms at {size}" for size in sizes), "MB (peak)", "start s"]
    rows = [columns, ["---", "---", *("---:" for _ in columns[2:])]]
    rows += [[_model(facts), *_row(row, sizes, _ran(facts))] for facts in compared for row in _ran(facts)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    machines = "; ".join(dict.fromkeys(_machine(facts) for facts in compared))
    missing = dict.fromkeys(
        f"- {row['name']}: {row.get('missing') or row.get('failed')}"
        for facts in compared
        for row in facts["runtimes"]
        if "batches" not in row
    )
    remarks = "".join(f"{line}\n" for line in missing)
    load = max(facts["load_average_before"] for facts in compared)
    return f"{machines}, load average before it at most {load:g}; medians with quartiles:\n\n{table}\n\n{remarks}"


def _ran(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in facts["runtimes"] if "batches" in row]


def _machine(facts: Mapping[str, Any]) -> str:
    machine, threads = facts["machine"], facts["threads"]
    return f"{machine['cpu']}, {machine['cores']} cores, {threads} thread{'s' * (threads > 1)}"


def _model(facts: Mapping[str, Any]) -> str:
    tokens = f", {facts['length']} tokens" if facts["length"] else ""
    return f"{facts['name']}, {facts['variant']}{tokens}"


def _row(row: Mapping[str, Any], sizes: Sequence[str], ran: Sequence[Mapping[str, Any]]) -> list[str]:
    parity = row["parity"]
    others = f", {parity['other_labels']} of {parity['items']} other labels" if parity["other_labels"] else ""
    gap = f"{parity['gap_share']:.2g}{others}" + ("" if parity["holds"] else ", not the same")
    same = [other for other in ran if other["parity"]["holds"]]
    times = []
    for size in sizes:
        found = row["batches"][size]
        cell = f"{spread(found)}, {found['speedup']:.2f}"
        is_fastest = row in same and found["median_ms"] == min(other["batches"][size]["median_ms"] for other in same)
        times.append(f"**{cell}**" if is_fastest else cell)
    return [row["name"], gap, *times, *memory_and_start(row)]
