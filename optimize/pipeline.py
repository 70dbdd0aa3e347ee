"""The whole road of a recipe: steps, measuring, gates, operating point, artifacts, summary, model store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimize.assemble import assemble, chosen_variants, default_variant, write_operating_point
from optimize.build import ROLES, Build
from optimize.operating_point import choose
from optimize.progress import console
from optimize.report import Measured, summarise, tables
from optimize.verify import judge, logits_of, measure
from serving.artifact import write_json

ROUNDS = 100


def evaluate(build: Build) -> dict[str, Any]:
    """Carry out all steps, measure and judge the results, and write artifacts and summary.json; return the summary.

    The selection set decides what is published and where the threshold lies. The holdout is read once, at the end,
    and decides nothing.
    """
    results = build.carry_out()
    selection = build.prepared("selection")
    latency = measure(build, results, selection, ROUNDS)
    on_selection = {result.name: logits_of(build, result, selection) for result in results}
    verdicts = {role: judge(build, role, on_selection, selection.targets, latency) for role in ROLES}
    variants = {role: chosen_variants(build.graphs(role), verdicts[role], latency) for role in ROLES}
    default = {r: variants[r][default_variant(variants[r], latency, "CPUExecutionProvider")] for r in ROLES}

    holdout = build.prepared("holdout")
    on_holdout = {result.name: logits_of(build, result, holdout) for result in results}
    measured = Measured(latency, on_holdout, holdout.targets)
    artifacts = {}
    for role in ROLES:
        quality = {name: {"holdout_accuracy": measured.accuracy(g.name)} for name, g in variants[role].items()}
        artifacts[role] = assemble(build, role, verdicts[role], latency, quality)
    point = choose(
        on_selection[default["screen"].name],
        on_selection[default["expert"].name],
        selection.targets,
        build.recipe.operating_point,
        screen_digest=artifacts["screen"].digest,
        expert_digest=artifacts["expert"].digest,
    )
    write_operating_point(artifacts["screen"].folder, point)
    summary = summarise(build, measured, [v for role in ROLES for v in verdicts[role]], default, point)
    write_json(build.folder / "summary.json", summary)
    return summary


def artifact_folders(build: Build) -> list[Path]:
    """Where `evaluate` leaves the expert's and the screen's artifacts; the expert's comes first."""
    return [build.folder / f"{build.recipe.name}-{role}" for role in ROLES]


def tell(summary: dict[str, Any]) -> None:
    """Print the tables, what was not published and why, and what falls short."""
    for table in tables(summary):
        console.print(table)
    for verdict in summary["verdicts"]:
        for reason in verdict["reasons"]:
            console.print(f"{verdict['graph']} is not published: {reason}")
    for missed in summary["short_of_goals"]:
        console.print(f"[bold]falls short[/bold] of {missed}")
