"""docs/models.md: its tables say what families.py, image_families.py and the recipe's sources say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

from optimize.models.checkpoint import CheckpointConfig
from optimize.models.families import FAMILIES
from optimize.models.image_families import IMAGE_FAMILIES
from optimize.recipe import Recipe, read_recipe
from tests.docs.reading import blocks, read, table
from tests.tiny_recipes import TEXT_RECIPE

TEXT = read("docs/models.md")
# tests/optimize/models/test_families.py takes each family through these.
STEPS = (
    "distill",
    "own student",
    "prune heads",
    "prune feed-forward",
    "freeze layers",
    "export",
    "fuse",
    "INT8 dynamic",
    "INT8 static",
    "pairs",
    "several labels",
)
NEED_LAYERS_OF_THEIR_OWN = {"distill", "freeze layers"}


def test_its_rows_are_the_families_and_what_they_can_do() -> None:
    (head,) = re.findall(r"^\| family \| `model_type` \|.*$", TEXT, flags=re.MULTILINE)
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    rows = [dict(zip(columns, cells, strict=True)) for cells in table(TEXT, head)]
    kinds = {row["family"]: re.findall(r"`([\w-]+)`", row["`model_type`"]) for row in rows}
    assert kinds == {
        family.title: [kind for kind, of in FAMILIES.items() if of is family] for family in FAMILIES.values()
    }
    for row in rows:
        family = FAMILIES[kinds[row["family"]][0]]
        for step in STEPS:
            assert (row[step] == "no") == (family.shared_layers and step in NEED_LAYERS_OF_THEIR_OWN), (row, step)
            assert row[step] in ("yes", "no")


def test_its_student_fits_into_a_recipe(tmp_path: Path) -> None:
    (student,) = (block for block in blocks(TEXT, "toml") if block.startswith("[[screen]]"))
    before, middle = TEXT_RECIPE.partition("[[screen]]")[::2]
    after = middle.partition('[[screen]]\nstep = "export"')[2]
    (tmp_path / "own.toml").write_text(f'{before}{student}\n[[screen]]\nstep = "export"{after}')
    (distill, *_) = read_recipe(str(tmp_path / "own.toml")).screen
    assert distill.is_unrelated


def test_its_image_models_are_those_that_there_are() -> None:
    rows = table(TEXT, "| brought | `source` | `model_type` of the teacher |")
    assert {kind for row in rows for kind in re.findall(r"`([a-z_]+)`", row[2])} == set(IMAGE_FAMILIES)
    union = get_args(get_args(CheckpointConfig)[0])
    sources = {name for each in union for name in get_args(each.model_fields["source"].annotation)}
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row[1])} == sources - {"fresh-cifar-resnet"}


def test_the_recipe_of_a_ready_graph_is_one() -> None:
    (block,) = (block for block in blocks(TEXT, "toml") if block.startswith("[checkpoint]"))
    around = {"name": "ready", "task": "text", "data": {"source": "files", "train": "rows.csv"}}
    recipe = Recipe.model_validate({**around, **tomllib.loads(block)})
    assert recipe.checkpoint.source == "onnx"
    assert [step.step for step in recipe.expert] == ["export", "quantize"]
