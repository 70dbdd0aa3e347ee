"""docs/optimize.md: its verbs exist, and its tables fit into a recipe."""

from __future__ import annotations

import re
from pathlib import Path

from optimize.recipe import read_recipe
from tests.docs.reading import blocks, read, table
from tests.optimize.test_main import VERBS

TEXT = read("docs/optimize.md")


def test_its_verbs_are_those_that_there_are() -> None:
    rows = table(TEXT, "| verb | does |")
    assert {verb for row in rows for verb in re.findall(r"`([a-z-]+)`", row[0])} == {*VERBS} - {"list", "show"}
    for page in ("docs/optimize.md", "README.md"):
        assert set(re.findall(r"python -m optimize ([a-z-]+)", read(page))) <= set(VERBS)


def test_its_tables_fit_into_the_recipe_of_the_example(tmp_path: Path) -> None:
    options = blocks(TEXT, "toml")
    assert len(options) == 3
    (tmp_path / "all.toml").write_text("\n".join([read("examples/own-bert/my-cascade.toml"), *options]))
    assert read_recipe(str(tmp_path / "all.toml")).search is not None
