"""python -m benchmarks.unlabelled RECIPE: what a screen loses when it learns without the labels of its rows.

Carries out a labelled recipe up to its exports, without its search. Then the same steps again, from the teacher that
came out and with `labels = "teacher"`. Compares how often both screens agree with that teacher on the holdout, item by
item. Writes build/unlabelled/unlabelled.json, prints a table, and ends with status 1 if the loss is above --points.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import end_with
from loadtest.machine import machine
from optimize.build import Build
from optimize.judge.measure import logits_of
from optimize.judge.quality import compare
from optimize.judge.teacher import require_teacher
from optimize.recipe import Recipe, read_recipe
from serving.errors import SieveError
from serving.model.artifact import write_json
from serving.model.head import Decisions

OUTPUT = Path("build") / "unlabelled"


def main() -> int:
    options = parser().parse_args()
    recipe = read_recipe(options.recipe)
    if getattr(recipe.data, "holdout", None) is None:
        raise SystemExit("the recipe must name a holdout: else the rows that one run tests on train the other one")
    limit = {} if options.limit is None else {"limit": options.limit}
    data = {**recipe.data.model_dump(exclude_unset=True), **limit}
    labelled = Build(changed(recipe, data=data), root=options.root, folder=options.build / "labelled")
    require_teacher(labelled)  # with one that always gives one label, nothing is compared
    labelled.carry_out(until="export")
    checkpoint = {"source": "folder", "path": labelled.teacher.path.resolve()}
    silent = changed(recipe, data={**data, "labels": "teacher"}, checkpoint=checkpoint, teacher=())
    unlabelled = Build(silent, root=options.root, folder=options.build / "unlabelled")
    unlabelled.carry_out(until="export")
    found = compared(labelled, unlabelled)
    result = {"machine": machine(), "recipe": recipe.name, **found}
    write_json(options.build / "unlabelled.json", result)
    print(table(result))
    return int(found["points_lost"] > options.points)


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(prog="python -m benchmarks.unlabelled")
    command.add_argument("recipe", help="a labelled recipe with a holdout of its own, by name or path")
    command.add_argument("--root", type=Path, default=Path(), help="where the recipe's relative paths start")
    command.add_argument("--limit", type=int, help="about so many rows, for a quick run")
    command.add_argument("--points", type=float, default=0.5, help="of agreement that may be lost (default: 0.5)")
    command.add_argument("--build", type=Path, default=OUTPUT, help=f"(default: {OUTPUT})")
    return command


def changed(recipe: Recipe, **tables: Any) -> Recipe:
    """The recipe with other tables and without its search, checked anew."""
    described = {**recipe.model_dump(exclude_unset=True), **tables}
    return Recipe.model_validate({name: value for name, value in described.items() if name != "search"})


def compared(labelled: Build, unlabelled: Build) -> dict[str, Any]:
    """Shares of the labelled run's holdout on which its teacher and the two screens agree or are right."""
    holdout = labelled.read_holdout()

    def answers(build: Build, name: str) -> Decisions:
        # The teacher's folder is the other run's checkpoint, so the labels' order is the same.
        result = build.teacher if name == "teacher" else build.graphs("screen")[0]
        found: Decisions = logits_of(build, result, build.prepared_for(result, holdout)).argmax(axis=1)
        return found

    teacher = answers(labelled, "teacher")
    screens = {"labelled": answers(labelled, "screen"), "unlabelled": answers(unlabelled, "screen")}
    paired = compare(screens["unlabelled"], screens["labelled"], teacher, seed=labelled.recipe.seed)
    return {
        "items": len(holdout),
        "agreement_with_teacher": {name: float((given == teacher).mean()) for name, given in screens.items()},
        "accuracy": {
            name: float((given == holdout.targets).mean()) for name, given in {"teacher": teacher, **screens}.items()
        },
        "points_lost": 100 * paired["accuracy_drop"],
        "interval_points": [100 * bound for bound in paired["interval"]],
    }


def table(found: Mapping[str, Any]) -> str:
    """The comparison in Markdown."""
    low, high = found["interval_points"]
    rows = [
        f"{found['recipe']}, {found['items']} items of the holdout; without labels {found['points_lost']:+.2f} points "
        f"of agreement are lost ({low:+.2f} to {high:+.2f} at 95 %)",
        "",
        "| screen trained | agreement with the teacher | accuracy |",
        "| --- | ---: | ---: |",
        *(
            f"| {'with' if name == 'labelled' else 'without'} labels | {share:.2%} | {found['accuracy'][name]:.2%} |"
            for name, share in found["agreement_with_teacher"].items()
        ),
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    try:
        end_with(main)
    except SieveError as error:
        raise SystemExit(str(error)) from None
