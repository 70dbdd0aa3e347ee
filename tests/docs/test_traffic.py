"""docs/traffic.md and docs/feedback.md: what they show is taken, and their figures are those of the code."""

from __future__ import annotations

import re
import tomllib

import pytest

from optimize.__main__ import _parser
from optimize.judge.operating_point import upper_bound
from optimize.recipe import Recipe
from serving.http.feedback import FIELDS, LabelTold
from serving.settings import Settings
from serving.watch.answered import ANSWER, TOLD
from tests.docs.reading import blocks, read, table

TRAFFIC, FEEDBACK = read("docs/traffic.md"), read("docs/feedback.md")
PROMISES = next(block for block in blocks(TRAFFIC, "toml") if "operating_point" in block)


def test_its_commands_can_be_given() -> None:
    lines = [line for block in blocks(TRAFFIC, "sh") for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        _parser().parse_args(line.removeprefix("python -m optimize ").split())


@pytest.mark.parametrize("page", [TRAFFIC, FEEDBACK])
def test_its_settings_are_taken(page: str) -> None:
    stated = [block for block in blocks(page, "toml") if block != PROMISES]
    assert stated
    for block in stated:
        Settings.model_validate(tomllib.loads(block))


def test_its_promises_fit_into_a_recipe() -> None:
    example = tomllib.loads(read("examples/own-bert/my-cascade.toml"))
    (promise,) = Recipe.model_validate({**example, **tomllib.loads(PROMISES)}).operating_point.labels
    assert (promise.max_missed, promise.missed_as, promise.max_false) == (0.02, "ham", 0.05)


def test_its_bounds_are_those_that_are_computed() -> None:
    rows = table(TRAFFIC, "| rows that certify | smallest `alpha` at 95 %, without a miss | with 3 misses |")
    for number, *shares in (row for row in rows if row[0][0].isdigit()):
        n = int(number.replace(",", ""))
        assert shares == [f"{100 * upper_bound(misses, n, 0.05):.2f} %" for misses in (0, 3)]


def test_feedback_has_the_fields_and_sizes_that_it_states() -> None:
    rows = table(FEEDBACK, "| field | means |")
    assert {row[0].strip("`") for row in rows} == FIELDS
    assert f"{ANSWER.size + TOLD.size} bytes" in FEEDBACK
    shown = re.search(r'\{"right": \{.*?\}, "again": false\}', FEEDBACK)
    assert shown is not None
    LabelTold.model_validate_json(shown[0][:-1] + ', "timings_ms": {}, "request_id": "a"}')
