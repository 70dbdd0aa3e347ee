"""gpu.json as Markdown: what each way takes, what comes through HTTP, and which goals hold."""

from __future__ import annotations

from typing import Any


def gpu_table(result: dict[str, Any]) -> str:
    """The tables of a result."""
    lines = [
        "| model | way | batch | ms | items/s | of the fp16 peak | of the memory's bandwidth |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *map(_alone, result["alone"]),
    ]
    if result["http"]:
        lines += [
            "",
            "| model, through HTTP | p99 within, ms | goodput/s | of the session alone | GPU busy |",
            "| --- | ---: | ---: | ---: | ---: |",
            *map(_http, result["http"]),
        ]
    lines += ["", *map(_goal, result["goals"])] if result["goals"] else []
    return "\n".join(lines) + "\n"


def _alone(row: dict[str, Any]) -> str:
    if "missing" in row:
        return f"| {row['model']} | {row['way']} | {row.get('batch', '')} | {row['missing']} | | | |"
    used = (_share(row[name]) for name in ("fp16_share", "bandwidth_share"))
    figures = (f"{row['ms']:.3g}", f"{row['items_per_s']:,.0f}", *used)
    return f"| {row['model']} | {row['way']} | {row['batch']} | {' | '.join(figures)} |"


def _http(row: dict[str, Any]) -> str:
    shares = f"{_share(row['share_of_session_alone'])} | {_share(row['gpu_busy_share'])}"
    return f"| {row['model']} | {row['p99_limit_ms']:g} | {row['goodput_per_s']:,.0f} | {shares} |"


def _goal(goal: dict[str, Any]) -> str:
    verdict = "holds" if goal["holds"] else "missed"
    return (
        f"- {goal['model']}, batch {goal['batch']}: {goal['way']} has {goal['times']:g} times the items/s of PyTorch "
        f"compiled, where {goal['asked']:g} was asked: {verdict}."
    )


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
