"""docs/optimize.md: its verbs exist, and its tables fit into a recipe."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from optimize.recipe import Recipe, read_recipe
from tests.docs.reading import blocks, read, table
from tests.optimize.test_main import VERBS

TEXT = read("docs/optimize.md")
RARE = next(block for block in blocks(TEXT, "toml") if "class_weights" in block)
UNLABELLED = next(block for block in blocks(read("docs/data.md"), "toml") if 'labels = "teacher"' in block)


def test_its_verbs_are_those_that_there_are() -> None:
    rows = table(TEXT, "| verb | does |")
    assert {verb for row in rows for verb in re.findall(r"`([a-z-]+)`", row[0])} == {*VERBS} - {"list", "show"}
    for page in ("docs/optimize.md", "docs/first-recipe.md", "README.md"):
        assert set(re.findall(r"python -m optimize ([a-z-]+)", read(page))) <= set(VERBS)


def test_its_tables_fit_into_the_recipe_of_the_example(tmp_path: Path) -> None:
    options = [block for block in blocks(TEXT, "toml") if block != RARE]
    assert len(options) == 3
    (tmp_path / "all.toml").write_text("\n".join([read("examples/own-bert/my-cascade.toml"), *options]))
    assert read_recipe(str(tmp_path / "all.toml")).search is not None


def test_its_tables_for_other_rows_replace_those_of_the_example() -> None:
    example = tomllib.loads(read("examples/own-bert/my-cascade.toml"))
    untrained = {name: value for name, value in example.items() if name != "teacher"}
    assert Recipe.model_validate({**untrained, **tomllib.loads(UNLABELLED)}).data.labels == "teacher"
    rare = Recipe.model_validate({**example, **tomllib.loads(RARE)})
    assert rare.teacher[0].key_fields()["class_weights"] == "balanced"
    assert rare.quality.cascade.watch_labels == ("spam",)
