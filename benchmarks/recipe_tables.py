"""A measured recipe as Markdown: every step, the cascade, the goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GOALS = {
    "screen_speedup": "screen, times as fast as the teacher",
    "screen_drop_points": "screen, points of accuracy below the teacher",
    "expert_speedup": "expert, times as fast as the teacher",
    "expert_drop_points": "expert, points of accuracy below the teacher",
    "cascade_drop_points": "cascade, points of accuracy below the expert",
    "cascade_escalation_points": "cascade, percent of the holdout that escalates",
}


def tables(summary: Mapping[str, Any]) -> str:
    """Markdown of a run's summary.json: a row for each step and for the cascade, then the goals."""
    steps = summary["steps"]
    teacher_ms = steps[0]["latency_ms"]["median_ms"]
    chosen = {row["name"]: role for role, row in summary["models"].items() if role != "cascade"}
    lines = [
        f"**{summary['recipe']}** (holdout of {summary['data']['splits']['holdout']['size']:,} items; one thread of "
        f"{summary['machine']['cpu']}, medians of {summary['rounds']} alternating rounds with quartiles)",
        "",
        "| step | runs in | accuracy | MB | ms at batch size 1 | times as fast as the teacher |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in steps:
        name = f"**{row['name']}** ({chosen[row['name']]})" if row["name"] in chosen else row["name"]
        lines.append(
            f"| {name} | {row['runtime']} {row['precision']} | {row['accuracy']:.2%} | {row['size_bytes'] / 1e6:.1f} "
            f"| {_latency(row)} | {_ratio(teacher_ms, row)} |"
        )
    cascade = summary["models"]["cascade"]
    lines.append(
        f"| **cascade** ({cascade['escalation_share']:.1%} escalated) | both | {cascade['accuracy']:.2%} "
        f"| {cascade['size_bytes'] / 1e6:.1f} | {cascade['latency_ms']['median_ms']:.2f} expected "
        f"| {_ratio(teacher_ms, cascade)} |"
    )
    lines += ["", f"The operating point is {cascade['promise']}.", ""]
    lines += [*_goals(summary), ""]
    return "\n".join(lines)


def _latency(row: Mapping[str, Any]) -> str:
    latency = row["latency_ms"]
    if latency is None:
        return "needs a GPU"
    return f"{latency['median_ms']:.2f} ({latency['lower_quartile_ms']:.2f} to {latency['upper_quartile_ms']:.2f})"


def _ratio(teacher_ms: float, row: Mapping[str, Any]) -> str:
    return f"{teacher_ms / row['latency_ms']['median_ms']:.1f}" if row["latency_ms"] else ""


def _goals(summary: Mapping[str, Any]) -> list[str]:
    lines = ["| goal | asked | measured |", "| --- | ---: | ---: |"]
    for goal, bound in summary["goals"].items():
        key = goal.replace("_min_", "_").replace("_max_", "_")
        sign = "at least" if "_min_" in goal else "at most"
        lines.append(f"| {GOALS[key]} | {sign} {bound:g} | {summary['ratios'][key]:g} |")
    return lines
