"""Write report.json and report.html: all figures of a run, for machines and for people.

The HTML is one file that opens without a network. `optimize.report.figures` draws its pictures.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image
from scipy.stats import binom

from optimize.build import Build
from optimize.data.image_file import ImageFile
from optimize.judge.operating_point import Stages, thresholds, upper_bound
from optimize.judge.quality import accuracy, by_label, confusion
from optimize.judge.quality_name import name_of, name_of_decisions, named, quality_name
from optimize.judge.temperature import reliability
from optimize.judge.verify import EVIDENCE
from optimize.report import figures
from optimize.report.facts import Facts
from optimize.report.summary import summarise
from optimize.results import Result
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import write_json, write_text
from serving.model.image import load, to_mode
from serving.model.image_header import read_header
from serving.model.text import TextPair

EXAMPLES = 12
EXAMPLE_CHARACTERS = 240
EXAMPLE_SIDE = 96


def write_report(build: Build, facts: Facts) -> dict[str, Any]:
    """Write summary.json, report.json and report.html into the build folder; return the content of report.json."""
    name = name_of(build.splits)
    summary = named(summarise(build, facts), name)
    report: dict[str, Any] = {
        **summary,
        "command": facts.command,
        "failed_gates": list(facts.failed),
        "stale": None,
        "operating_point": facts.point.model_dump(mode="json", exclude={"reference", "certified_thresholds"}),
        "promise": facts.point.promise.statement,
        "label_promises": [promise.statement for promise in facts.point.label_promises],
        "trials": [trial.as_dict() for trial in facts.trials],
        "chosen_trial": facts.chosen_trial.number if facts.chosen_trial else None,
        "pareto": _pareto(build, facts),
        "risk": risk_curve(facts.certification, facts.point),
        **_what_for_what(build, facts),
        "differences": _differences(build, facts),
        "evidence": _evidence(build, facts),
    }
    reliability_rows = named(_reliability(facts), name_of_decisions(report["data"]))
    report = {**named(report, name), "reliability": reliability_rows}
    write_json(build.folder / "summary.json", summary)
    write_json(build.folder / "report.json", report)
    write_text(build.folder / "report.html", html(report))
    return report


def mark_stale(folder: Path, point: OperatingPoint) -> None:
    """Say in the report of an earlier `evaluate`, where there is one, that a newer operating point was chosen."""
    path = folder / "report.json"
    if path.is_file():
        report = json.loads(path.read_text(encoding="utf-8"))
        report["stale"] = f"threshold {point.threshold:.4f}, {point.promise.statement}"
        write_json(path, report)
        write_text(folder / "report.html", html(report))


def html(report: Mapping[str, Any]) -> str:
    """The report as one HTML page, made from the content of report.json alone."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    report = {"by_label": [], **report}  # an earlier version's has none
    labels, quality = report["data"]["labels"], quality_name(report["data"])
    pictures = {
        "pareto": figures.pareto(report["pareto"], quality),
        "risk": figures.risk(report["risk"], report["operating_point"]),
        "reliability": figures.reliability(report["reliability"], name_of_decisions(report["data"])),
    }
    if report["confusion"]:
        pictures["confusion"] = figures.confusion(report["confusion"], labels)
    return templates.get_template("report.html").render(report=report, pictures=pictures, quality=quality)


def risk_curve(stages: Stages, point: OperatingPoint) -> list[dict[str, float]]:
    """For each threshold: escalation share, share of misses with its upper bound, and the p-value of its test."""
    confidence, differs = stages.confidences(point.screen_temperature), stages.differs
    confidence = stages.above(confidence, point.label_thresholds)
    n, promise = len(confidence), point.promise
    curve = []
    for threshold in sorted({*thresholds(np.maximum(confidence, 0.0)), point.threshold}):
        misses = int((differs & (confidence >= threshold)).sum())
        curve.append(
            {
                "threshold": threshold,
                "escalation_share": float((confidence < threshold).mean()),
                "risk": misses / n,
                "upper_bound": upper_bound(misses, n, promise.delta),
                "p_value": float(binom.cdf(misses, n, promise.alpha)),
            }
        )
    return curve


def _pareto(build: Build, facts: Facts) -> list[dict[str, Any]]:
    """Accuracy on the selection set, latency and size of the teacher, every measured graph and every trial."""

    def point(result: Result, kind: str) -> dict[str, Any]:
        return {
            "name": result.name,
            "kind": kind,
            "accuracy": accuracy(facts.on_selection[result.name], facts.selection_targets, facts.heads[result.name]),
            "latency_ms": facts.latency[result.name].median_ms,
            "size_bytes": result.size_bytes,
        }

    chosen = {result.name: stage for stage, result in facts.defaults.items()}
    points = [{**point(build.teacher, "teacher"), "name": "teacher"}]
    for result in build.results:
        if result.is_graph and result.name in facts.latency:
            points.append(point(result, chosen.get(result.name, "variant")))
    for trial in facts.trials:
        points.append(
            {
                "name": f"trial {trial.number}",
                "kind": "chosen trial" if trial == facts.chosen_trial else "trial",
                "accuracy": trial.accuracy,
                "latency_ms": trial.latency_ms,
                "size_bytes": trial.size_bytes,
            }
        )
    return points


def _reliability(facts: Facts) -> dict[str, Any]:
    """The screen's confidence against its accuracy on the certification set, before and after scaling."""
    stages, point = facts.certification, facts.point
    return {
        "before": reliability(stages.screen, stages.targets),
        "after": reliability(stages.screen, stages.targets, point.screen_temperature),
        "temperature": point.screen_temperature,
        **point.calibration["screen"],
    }


def _differences(build: Build, facts: Facts) -> list[dict[str, Any]]:
    """Items of the holdout with two different answers and the right one; those of highest confidence first."""
    stages, split, labels = facts.served, facts.holdout_split, build.splits.labels
    confidence = stages.confidences(facts.point.screen_temperature)
    deferred = stages.deferred(facts.point)
    ours, theirs = stages.decisions
    places = np.flatnonzero(stages.differs)
    return [
        {
            "id": split.ids[place],
            "content": _shown(split.inputs[place]),
            "right": _named(split.targets[place], labels),
            "screen": _named(ours[place], labels),
            "expert": _named(theirs[place], labels),
            "confidence": float(confidence[place]),
            "escalated": bool(deferred[place]),
        }
        for place in places[np.argsort(-confidence[places], kind="stable")][:EXAMPLES].tolist()
    ]


def _what_for_what(build: Build, facts: Facts) -> dict[str, Any]:
    """Confusion matrices of both stages on the holdout; for label sets the figures of each label instead."""
    labels, targets = build.splits.labels, facts.holdout_split.targets
    answers = dict(zip(("screen", "expert"), facts.served.decisions, strict=True))
    if targets.ndim == 1:
        return {"confusion": {role: confusion(a, targets, len(labels)) for role, a in answers.items()}, "by_label": []}
    figures = {role: by_label(given, targets) for role, given in answers.items()}
    rows = [
        {
            "label": label,
            "items": int(figures["screen"]["items"][place]),
            **{
                role: {name: float(column[place]) for name, column in columns.items() if name != "items"}
                for role, columns in figures.items()
            },
        }
        for place, label in enumerate(labels)
    ]
    return {"confusion": {}, "by_label": rows}


def _named(decision: Any, labels: Sequence[str]) -> str:
    """The name of a label index, or the names of a label set [labels]."""
    if np.ndim(decision) == 0:
        return labels[int(decision)]
    return ", ".join(labels[place] for place in np.flatnonzero(decision).tolist()) or "none"


def _shown(content: Any) -> dict[str, str]:
    """Shortened texts, or an image as a data URL."""
    if isinstance(content, str):
        cut = content if len(content) <= EXAMPLE_CHARACTERS else content[: EXAMPLE_CHARACTERS - 1] + "…"
        return {"text": cut}
    if isinstance(content, TextPair):
        return {"text": " | ".join(_shown(text)["text"] for text in content)}
    if isinstance(content, ImageFile):
        image = to_mode(load(read_header(content.read(), content.name), EXAMPLE_SIDE).upright(), "RGB")
    else:
        image = Image.fromarray(content[..., 0] if content.shape[-1] == 1 else content)
    image.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"image": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}


def _evidence(build: Build, facts: Facts) -> dict[str, Any]:
    """The content of the evidence folders, without the ids of the items."""
    folders = {f"{build.recipe.name}-{role}": artifact.folder for role, artifact in facts.artifacts.items()}
    folders[build.point_folder.name] = build.point_folder
    found = {}
    for name, folder in folders.items():
        for path in sorted((folder / EVIDENCE).glob("*.json")):
            if path.stem != "verdicts":
                evidence = json.loads(path.read_text(encoding="utf-8"))
                found[f"{name} {path.stem}"] = {k: v for k, v in evidence.items() if k != "sample_ids"}
    return found
