"""What `overload` leaves: overload.json, overload.html with its picture, overload.svg, and a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadtest.pages import pictures
from loadtest.pages.files import page, write_json, write_text
from loadtest.pages.report import judged_line
from loadtest.verdict.steps import OverloadResult, Step

COLUMNS = (
    *("times", "offered/s", "full/s", "expert's/s", "degraded/s", "late/s", "shed/s", "missing"),
    *("p50 ms", "p99 ms", "server p99", "refusal p99", "lag p99"),
)


def write_overload(folder: Path, result: OverloadResult) -> None:
    """Write overload.json, overload.html and overload.svg into `folder`."""
    write_json(folder / "overload.json", result)
    picture = pictures.overload(result["steps"], result["deadline_ms"])
    write_text(folder / "overload.svg", picture)
    values = {"title": title(result), "columns": COLUMNS, "rows": [cells(step) for step in result["steps"]]}
    write_text(folder / "overload.html", page("overload.html", run=result, picture=picture, **values))


def say_overload(result: OverloadResult) -> None:
    """Print the table and the verdict."""
    print(steps_table(result["steps"]))
    for row in result["objective"]:
        print(judged_line(row))
    print(title(result).upper())


def title(result: OverloadResult) -> str:
    """Passed, failed or invalid. A rule that valid steps break is broken, however late the generator was in others."""
    if not all(row["holds"] for row in result["objective"]):
        return "failed"
    return "passed" if result["valid"] else "invalid"


def steps_table(steps: Sequence[Step]) -> str:
    """The steps in Markdown."""
    lines = [COLUMNS, ["---:"] * len(COLUMNS), *(cells(step) for step in steps)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(step: Step) -> list[str]:
    """One row of the table."""
    per_s = step["per_s"]
    rates = (
        step["offered_per_s"],
        per_s["full"],
        step["expert_per_s"],
        per_s["degraded"],
        per_s["late"],
        per_s["shed"],
    )
    ms = (step["answer_p50_ms"], step["answer_ms"], step["server_ms"], step["server_refusal_ms"])
    return [
        f"{step['times']:g}",
        *(f"{rate:.0f}" for rate in rates),
        f"{step['counts']['missing']:,}",
        *("" if value is None else f"{value:.1f}" for value in ms),
        f"{step['lag_ms']:.1f}" + ("" if step["valid"] else " invalid"),
    ]
