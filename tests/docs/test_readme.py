"""README.md: short, and what it says works."""

from __future__ import annotations

import os

from benchmarks.pages import EXAMPLE
from tests.conftest import ROOT
from tests.docs.reading import blocks, commands, make_targets, read

README = read("README.md")
MAX_LINES = 220
MAX_ANSWER_LINES = 12


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES
    answers = blocks(README, "json")
    assert answers
    for answer in answers:
        assert len(answer.splitlines()) <= MAX_ANSWER_LINES


def test_it_links_to_every_page() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in README, page.name


def test_it_shows_the_two_commands_and_a_quick_start() -> None:
    assert {"demo", "test", "serve", "docs"} <= make_targets(README)
    assert "make serve" in commands(README)
    ((curl, _),) = EXAMPLE.findall(README)
    assert "localhost:3000/classify_text " in curl
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_its_recipe_is_the_example() -> None:
    """tests/examples/test_own_bert.py carries it out."""
    (recipe,) = blocks(README, "toml")
    assert recipe == read("examples/own-bert/my-cascade.toml").rstrip("\n")
