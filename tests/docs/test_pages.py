"""Every page: its make targets, paths and links are there, and its figures are those that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pages as writer
from tests.conftest import ROOT
from tests.docs.reading import MAKE_TARGETS, PAGES, links, make_targets, paths


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert make_targets(text) <= MAKE_TARGETS
    assert [name for name in paths(text) if not (ROOT / name).exists()] == []
    assert [link for link in links(page) if not link.exists()] == []


@pytest.mark.parametrize("page", writer.PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_figures_of_a_page_are_those_that_were_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert writer.with_blocks(text) == text


def test_every_measured_file_is_shown_once() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in writer.PAGES)
    for name in writer.blocks():
        assert shown.count(f"<!-- {name}: begin -->") == 1
        _, _, block = shown.partition(f"<!-- {name}: begin -->\n")
        assert not block.startswith("<!--"), f"nothing is shown of {name}"
    for name in writer.FIGURES:
        measured = (writer.MEASURED / "figures" / f"{name}.json").is_file()
        assert measured is (name not in writer.TO_MEASURE), f"{name}: take it out of TO_MEASURE once it is measured"


def test_both_recipes_and_both_profiles_are_shown() -> None:
    measured = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    for recipe in ("sms-risk", "cifar10"):
        assert f"**{recipe}** (holdout of" in measured
    profiling = (ROOT / "docs" / "profiling.md").read_text(encoding="utf-8")
    for model in ("sms-risk-expert", "sms-risk-screen"):
        assert f"### {model}\n" in profiling
        assert f"measured/profile/{model}.svg" in profiling
