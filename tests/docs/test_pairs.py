"""docs/pairs.md: its recipe reads, its requests are taken, its errors are those that are given."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from optimize.recipe import read_recipe
from serving.errors import InvalidInputError
from serving.http.body import json_object
from serving.http.texts import SingleTexts, TextForm, TextPairs
from tests.docs.reading import blocks, read, table
from tests.serving.http.test_body import body_of, piece
from tests.tiny_recipes import TEXT_RECIPE

TEXT = read("docs/pairs.md")


def test_its_table_makes_a_recipe_for_pairs(tmp_path: Path) -> None:
    (data,) = blocks(TEXT, "toml")
    before, _, after = TEXT_RECIPE.partition("[data]")
    (tmp_path / "pairs.toml").write_text(f"{before}{data}\n[text]{after.partition('[text]')[2]}")
    assert read_recipe(str(tmp_path / "pairs.toml")).data.pairs


def asked(form: TextForm, sent: str) -> Any:
    keys = form.many_keys if "texts" in json.loads(sent) else form.one_keys
    body = asyncio.run(json_object(body_of(piece(sent.encode())), keys, misplaced=form.misplaced))
    return form.many(body).good if "texts" in body else form.one(body)


def test_its_requests_are_taken() -> None:
    one, many = blocks(TEXT, "json")
    assert len(asked(TextPairs(), one)) == 2
    assert len(asked(TextPairs(), many)) == 2


def test_its_errors_are_those_that_are_given() -> None:
    rows = table(TEXT, "| sent | to a cascade for | gets |")
    assert len(rows) == 2
    for sent, kind, error in rows:
        form = TextPairs() if kind == "pairs" else SingleTexts()
        with pytest.raises(InvalidInputError) as caught:
            asked(form, sent.strip("`"))
        assert str(caught.value) == error.strip("`")
