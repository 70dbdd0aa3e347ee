"""summary.json: rows for each step, the models side by side, and what falls short of the recipe's goals."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from optimize.build import Build
from optimize.judge.gates import Verdict
from optimize.judge.measure import Latency
from optimize.judge.operating_point import cascade_labels
from optimize.progress import console
from optimize.results import Result
from optimize.versions import processor, versions
from serving.cascade.deferral import OperatingPoint

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of a run: latency on the selection set, logits on the holdout."""

    latency: Mapping[str, Latency]
    holdout: Mapping[str, Logits]
    targets: NDArray[np.int64]

    def accuracy(self, name: str) -> float:
        return float((self.holdout[name].argmax(axis=1) == self.targets).mean())

    def row(self, result: Result) -> dict[str, Any]:
        """One result as JSON values; `latency_ms` is None for a GPU's graph on a machine without one."""
        return {
            "name": result.name,
            "runtime": "ONNX Runtime" if result.is_graph else "PyTorch",
            "precision": result.precision,
            "accuracy": round(self.accuracy(result.name), 5),
            "size_bytes": result.size_bytes,
            "latency_ms": self.latency[result.name].as_dict() if result.name in self.latency else None,
        }


def summarise(
    build: Build, measured: Measured, verdicts: Sequence[Verdict], chosen: Mapping[str, Result], point: OperatingPoint
) -> dict[str, Any]:
    """The content of summary.json. `chosen`: the default graph of each role."""
    teacher = measured.row(build.teacher)
    models = {"teacher": teacher, **{role: measured.row(result) for role, result in chosen.items()}}
    models["cascade"] = _cascade(models, measured, chosen, point)
    summary = {
        "recipe": build.recipe.name,
        "description": build.recipe.description,
        "data": build.splits.describe(),
        "seed": build.recipe.seed,
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "rounds": next(iter(measured.latency.values())).rounds,
        "versions": versions(),
        "models": models,
        "ratios": _ratios(models),
        "steps": [measured.row(result) for result in build.results],
        "verdicts": [verdict.as_dict() for verdict in verdicts],
    }
    summary["goals"] = build.recipe.goals.model_dump(exclude_none=True)
    summary["short_of_goals"] = shortfalls(build, summary["ratios"])
    names = {"teacher": build.teacher.name, **{role: result.name for role, result in chosen.items()}}
    answers = {role: measured.holdout[name].argmax(axis=1) for role, name in names.items()}
    summary["doubts"] = [*doubts(answers, measured.targets, build.splits.labels), *_idle_stages(models, point)]
    return summary


def shortfalls(build: Build, ratios: Mapping[str, float]) -> list[str]:
    """A sentence for each goal of the recipe that was not reached."""
    missed = []
    for goal, bound in build.recipe.goals.model_dump(exclude_none=True).items():
        role, _, kind = goal.partition("_")
        got = ratios[f"{role}_{kind.removeprefix('min_').removeprefix('max_')}"]
        if (got < bound) if "min_" in goal else (got > bound):
            missed.append(f"{goal}: {got:.2f} measured, {bound} asked")
    return missed


def doubts(answers: Mapping[str, NDArray[np.int64]], targets: NDArray[np.int64], labels: tuple[str, ...]) -> list[str]:
    """What a figure of accuracy hides: models that are no better than the most frequent label, labels never given.

    `answers` and `targets` are label indices [items].
    """
    counts = np.bincount(targets, minlength=len(labels))
    often = int(counts.argmax())
    found = []
    for role, given in answers.items():
        reached = float((given == targets).mean())
        if reached <= counts[often] / len(targets):
            found.append(f"the {role} is no better ({reached:.2%}) than always saying {labels[often]!r}")
        silent = [label for i, label in enumerate(labels) if counts[i] and not (given == i).any()]
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
    steps = Table("step", "runs in", "accuracy", "size MB", "ms at batch 1", title=f"{title}: each step")
    for row in summary["steps"]:
        steps.add_row(row["name"], f"{row['runtime']} {row['precision']}", *_figures(row))
    models = Table("model", "is", "accuracy", "size MB", "ms at batch 1", title=f"{title}: the models")
    for name, row in summary["models"].items():
        models.add_row(name, row["name"], *_figures(row))
    return [steps, models]


def tell(summary: Mapping[str, Any]) -> None:
    """Print the tables, what was not published and why, and what falls short."""
    for table in tables(summary):
        console.print(table)
    for verdict in summary["verdicts"]:
        for reason in verdict["reasons"]:
            console.print(f"{verdict['graph']} is not published: {reason}")
    for doubt in summary["doubts"]:
        console.print(f"[bold]mind:[/bold] {doubt}")
    for missed in summary["short_of_goals"]:
        console.print(f"[bold]falls short[/bold] of {missed}")


def _figures(row: Mapping[str, Any]) -> tuple[str, str, str]:
    latency = row["latency_ms"]
    if latency is None:
        return f"{row['accuracy']:.2%}", f"{row['size_bytes'] / 1e6:.2f}", "not measured"
    spread = f" ({latency['lower_quartile_ms']:.2f}-{latency['upper_quartile_ms']:.2f})" if len(latency) > 1 else ""
    return f"{row['accuracy']:.2%}", f"{row['size_bytes'] / 1e6:.2f}", f"{latency['median_ms']:.2f}{spread}"


def _cascade(
    models: Mapping[str, Any], measured: Measured, chosen: Mapping[str, Result], point: OperatingPoint
) -> dict[str, Any]:
    screen, expert = (measured.holdout[chosen[role].name] for role in ("screen", "expert"))
    labels, deferred = cascade_labels(screen, expert, point)
    share = float(deferred.mean())
    screen_ms, expert_ms = (models[role]["latency_ms"]["median_ms"] for role in ("screen", "expert"))
    return {
        "name": f"screen, expert below confidence {point.threshold:.4f}",
        "accuracy": round(float((labels == measured.targets).mean()), 5),
        "size_bytes": models["screen"]["size_bytes"] + models["expert"]["size_bytes"],
        # Expected from the two stages and the share that is escalated; serving adds its own time.
        "latency_ms": {"median_ms": round(screen_ms + share * expert_ms, 4)},
        "threshold": point.threshold,
        "escalation_share": round(share, 5),
        "escalation_share_expected": round(point.escalation_share, 5),
        "promise": point.promise.statement,
        "agreement_with_expert": round(float((labels == expert.argmax(axis=1)).mean()), 5),
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
