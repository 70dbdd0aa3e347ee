"""Build summary.json: a row for each step, the models side by side, and the goals that were missed."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from optimize.build import Build
from optimize.data.targets import counts_of
from optimize.judge.operating_point import Stages, cascade_answers
from optimize.judge.quality_name import QualityName, quality_name
from optimize.models.decisions import best_constant, score
from optimize.progress import console
from optimize.recipe import Goals
from optimize.report.facts import Facts
from optimize.results import STAGES, Result
from optimize.versions import versions
from serving.cascade.deferral import OperatingPoint
from serving.cpu import processor
from serving.model.head import Decisions, differ


def summarise(build: Build, facts: Facts) -> dict[str, Any]:
    """The content of summary.json."""
    targets = facts.holdout_split.targets
    graphs: dict[str, Result] = {"teacher": build.teacher, **{str(stage): facts.defaults[stage] for stage in STAGES}}
    models = {role: facts.row(result) for role, result in graphs.items()}
    models["cascade"] = _cascade(models, facts)
    ratios = _ratios(models)
    answers = {role: facts.heads[of.name].decide(facts.holdout[of.name]) for role, of in graphs.items()}
    return {
        "recipe": build.recipe.name,
        "description": build.recipe.description,
        "data": {**build.splits.describe(), "notes": list(build.splits.notes)},
        "seed": build.recipe.seed,
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "rounds": next(iter(facts.latency.values())).rounds,
        "versions": versions(),
        "models": models,
        "ratios": ratios,
        "steps": [facts.row(result) for result in build.results],
        "verdicts": [verdict.as_dict() for verdict in facts.verdicts],
        "goals": build.recipe.goals.model_dump(exclude_none=True),
        "short_of_goals": shortfalls(build.recipe.goals, ratios),
        "doubts": [*doubts(answers, targets, build.splits.labels), *_idle_stages(models, facts.point)],
    }


def shortfalls(goals: Goals, ratios: Mapping[str, float]) -> list[str]:
    """A sentence for each goal that was missed."""
    missed = []
    for goal, bound in goals.model_dump(exclude_none=True).items():
        role, _, kind = goal.partition("_")
        got = ratios[f"{role}_{kind.removeprefix('min_').removeprefix('max_')}"]
        if (got < bound) if "min_" in goal else (got > bound):
            missed.append(f"{goal}: {got:.2f} measured, {bound} asked")
    return missed


def doubts(answers: Mapping[str, Decisions], targets: Decisions, labels: tuple[str, ...]) -> list[str]:
    """A sentence for each model that is no better than one answer for all, or that never gives some label.

    `answers` (by model) and `targets` are label indices [items], or label sets [items, labels]. The one answer is the
    most frequent label, or the most frequent labels together.
    """
    constant, there = best_constant(targets, len(labels)), counts_of(targets, len(labels))
    found = []
    for role, given in answers.items():
        reached = score(given, targets)
        if reached <= constant.score:
            names = " and ".join(repr(labels[index]) for index in constant.labels)
            found.append(f"the {role} is no better ({reached:.2%}) than always saying {names}")
        said = counts_of(given, len(labels))
        silent = [label for i, label in enumerate(labels) if there[i] and not said[i]]
        if silent:
            found.append(f"the {role} never says {', '.join(silent)}")
    return found


def _idle_stages(models: Mapping[str, Any], point: OperatingPoint) -> list[str]:
    found = []
    if point.threshold > 1:
        found.append("the screen is never trusted: every request goes to the expert")
    if models["cascade"]["latency_ms"]["median_ms"] >= models["expert"]["latency_ms"]["median_ms"]:
        found.append("the cascade is expected to be no faster than the expert alone")
    return found


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """The summary as tables for a terminal."""
    synthetic = " (synthetic data)" if summary["data"]["synthetic"] else ""
    title = f"{summary['recipe']}{synthetic}"
    quality = quality_name(summary["data"])
    steps = Table("step", "runs in", quality.words, "size MB", "ms at batch 1", title=f"{title}: each step")
    for row in summary["steps"]:
        steps.add_row(row["name"], f"{row['runtime']} {row['precision']}", *_figures(row, quality))
    models = Table("model", "is", quality.words, "size MB", "ms at batch 1", title=f"{title}: the models")
    for name, row in summary["models"].items():
        models.add_row(name, row["name"], *_figures(row, quality))
    return [steps, models]


def tell(summary: Mapping[str, Any]) -> None:
    """Print the tables, the reasons against publishing, the doubts and the goals that were missed."""
    for table in tables(summary):
        console.print(table)
    for verdict in summary["verdicts"]:
        for reason in verdict["reasons"]:
            console.print(f"{verdict['graph']} is not published: {reason}")
    for doubt in summary["doubts"]:
        console.print(f"[bold]mind:[/bold] {doubt}")
    for missed in summary["short_of_goals"]:
        console.print(f"[bold]falls short[/bold] of {missed}")


def _figures(row: Mapping[str, Any], quality: QualityName) -> tuple[str, str, str]:
    latency = row["latency_ms"]
    if latency is None:
        return f"{row[quality.key]:.2%}", f"{row['size_bytes'] / 1e6:.2f}", "not measured"
    spread = f" ({latency['lower_quartile_ms']:.2f}-{latency['upper_quartile_ms']:.2f})" if len(latency) > 1 else ""
    batch = f", {latency['item_ms_at_8']:.2f} an item at 8" if "item_ms_at_8" in latency else ""
    return f"{row[quality.key]:.2%}", f"{row['size_bytes'] / 1e6:.2f}", f"{latency['median_ms']:.2f}{spread}{batch}"


def _cascade(models: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    point = facts.point
    targets = facts.holdout_split.targets
    screen, expert = (facts.defaults[stage].name for stage in ("screen", "expert"))
    heads = facts.heads[screen], facts.heads[expert]
    stages = Stages(
        facts.holdout[screen], facts.holdout[expert], targets, *heads, facts.artifacts["screen"].manifest.labels
    )
    answers, deferred = cascade_answers(stages, point)
    share = float(deferred.mean())
    screen_ms, expert_ms = (models[role]["latency_ms"]["median_ms"] for role in ("screen", "expert"))
    return {
        "name": f"screen, expert below confidence {point.threshold:.4f}",
        "accuracy": round(score(answers, targets), 5),
        "size_bytes": models["screen"]["size_bytes"] + models["expert"]["size_bytes"],
        # Expected from the two stages and the escalation share; serving adds its own time.
        "latency_ms": {"median_ms": round(screen_ms + share * expert_ms, 4)},
        "threshold": point.threshold,
        "escalation_share": round(share, 5),
        "escalation_share_expected": round(point.escalation_share, 5),
        "promise": point.promise.statement,
        "agreement_with_expert": round(float((~differ(answers, heads[1].decide(stages.expert))).mean()), 5),
    }


def _ratios(models: Mapping[str, Any]) -> dict[str, float]:
    teacher = models["teacher"]

    def speedup(role: str) -> float:
        return float(teacher["latency_ms"]["median_ms"] / models[role]["latency_ms"]["median_ms"])

    def drop(role: str, against: str) -> float:
        return float(100 * (models[against]["accuracy"] - models[role]["accuracy"]))

    return {
        "screen_speedup": round(speedup("screen"), 2),
        "screen_drop_points": round(drop("screen", "teacher"), 3),
        "expert_speedup": round(speedup("expert"), 2),
        "expert_drop_points": round(drop("expert", "teacher"), 3),
        "cascade_drop_points": round(drop("cascade", "expert"), 3),
        "cascade_escalation_points": round(100 * models["cascade"]["escalation_share"], 2),
    }
