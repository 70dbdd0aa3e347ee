"""What a run leaves: JSON, one HTML page, and what the terminal says."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.table import Table

from loadtest.pages.live import console
from loadtest.verdict.figures import GROUPS, PERCENTILES
from loadtest.verdict.outcome import Outcome


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename: a full disk or a signal leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Readable JSON, keys in the order in which they were made."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def machine() -> dict[str, Any]:
    """What figures depend on: cores, processor and Python; no name of a machine."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    return {"cores": os.cpu_count(), "processor": model or platform.machine(), "python": platform.python_version()}


def page(template: str, **values: Any) -> str:
    """A page from `loadtest/pages/templates`."""
    loader = PackageLoader("loadtest.pages", "templates")
    return (
        Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(template).render(**values)
    )


def write_run(folder: Path, result: Mapping[str, Any], outcomes: Sequence[Outcome], deadline_ms: float) -> None:
    """run.json and run.html in `folder`."""
    from loadtest.pages import pictures

    write_json(folder / "run.json", result)
    images = {
        "time": pictures.over_time(outcomes, deadline_ms),
        "curve": pictures.percentile_curve(outcomes, deadline_ms),
        "parts": pictures.parts(result["idle"]["parts"], result["figures"]["parts"]),
    }
    html = page("run.html", run=result, pictures=images, groups=GROUPS, percentiles=list(PERCENTILES))
    write_text(folder / "run.html", html)


def say_run(result: Mapping[str, Any], console: Console = console) -> None:
    """The verdict, for a terminal."""
    figures, lag = result["figures"], result["generator_lag_p99_ms"]
    if not result["valid"]:
        console.print(
            f"INVALID: the generator could not keep its own schedule (p99 {lag:.1f} ms late, at most "
            f"{result['generator_lag_limit_ms']:g}); ask for less, or run it on another machine than the service"
        )
    said = ", ".join(f"{count:,} {kind}" for kind, count in figures["outcomes"].items())
    console.print(f"{figures['requests']:,} requests in {figures['seconds']:g} s: {said}")
    latency = Table("ms, with 95 % intervals", "answers", "all that was asked")
    for name in PERCENTILES:
        latency.add_row(name, *(interval(figures[key][name]) for key in ("latency_ms", "asked_ms")))
    console.print(latency)
    for key in ("goodput_per_s", "escalation_share", "degraded_share", "accuracy"):
        if figures[key] is not None:
            console.print(f"{key.replace('_', ' ').replace(' per s', '')}: {figures[key]:g}")
    for row in result.get("payloads", []):
        took = (
            f"{row['latency_ms']:.2f} ms, the server's reading {row['read_ms']:.2f} of it"
            if row["answered"]
            else "no answer"
        )
        console.print(f"one image as {row['encoding']}: {row['bytes']:,} bytes, {took}")
    for row in result["objective"]:
        mark = "holds" if row["holds"] else "FAILS"
        note = f" ({row['note']})" if row["note"] else ""
        measured = "no answer" if row["measured"] is None else f"{row['measured']:g}"
        console.print(f"{mark}  {row['what']}: {measured}, {row['asked']} asked{note}")
    found = result["bottleneck"]
    console.print(
        f"bottleneck: {found['group'] or 'unknown'}{' for the ' + at if (at := found.get('waited_for')) else ''}"
    )
    for sentence in found["why"]:
        console.print(f"  {sentence}")
    console.print(f"  so: {found['advice']}")
    console.print("PASSED" if result["passed"] else ("FAILED" if result["valid"] else "INVALID"))


def interval(estimate: Mapping[str, Any]) -> str:
    """`12.3 (11.8 to 13.1)`, and whether there were too few samples."""
    if estimate["ms"] is None:
        return "no answer"
    high = "no answer" if estimate["high_ms"] is None else f"{estimate['high_ms']:.1f}"
    few = ", too few samples" if estimate["too_few_samples"] else ""
    return f"{estimate['ms']:.1f} ({estimate['low_ms']:.1f} to {high}{few})"
