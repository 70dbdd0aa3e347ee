from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from optimize.data.inputs import Preparer
from optimize.data.splits import Split
from optimize.errors import StepError
from optimize.input_settings import image_settings, text_settings
from optimize.recipe import read_recipe
from tests.tiny_recipes import RECIPES


def changed(folder: Path, old: str, new: str, name: str = "tiny-text") -> Path:
    path = folder / "changed.toml"
    path.write_text(RECIPES[name].replace(old, new, 1))
    return path


def test_a_text_takes_what_the_recipe_and_the_checkpoint_say(tiny_bert: Path, tmp_path: Path) -> None:
    path = changed(tmp_path, "max_tokens = 48", 'max_tokens = 40\nlong_texts = "windows"\nwatch = "b"')
    settings = text_settings(read_recipe(str(path)), ("a", "b"), tiny_bert)
    assert (settings.max_tokens, settings.long_texts, settings.watched_label) == (40, "windows", 1)
    assert settings.inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert settings.truncation_side == "right"


def test_texts_are_cut_where_the_checkpoints_tokeniser_cuts_them(tiny_bert: Path, tmp_path: Path) -> None:
    left = shutil.copytree(tiny_bert, tmp_path / "left")
    config = left / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"truncation_side": "left"}))
    recipe = read_recipe(str(changed(tmp_path, "max_tokens = 48", "max_tokens = 8")))
    words = "one two three four five six seven eight nine ten eleven twelve"
    kept = {}
    for name, folder in (("right", tiny_bert), ("left", left)):
        preparer = Preparer(text_settings(recipe, ("a", "b"), folder), folder)
        (ids,) = preparer.prepare(Split("train", [words], np.array([0]), ("a", "b"), frozenset())).items
        kept[name] = ids.tolist()
    assert all(len(ids) == 8 and (ids[0], ids[-1]) == (kept["right"][0], kept["right"][-1]) for ids in kept.values())
    assert kept["left"] != kept["right"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max_tokens = 48", "max_tokens = 512", "max_tokens must be at most [0-9]+, the positions .*, got 512; lower"),
        (
            "max_tokens = 48",
            'max_tokens = 48\nlong_texts = "windows"\nwatch = "c"',
            "watch must be a label of the data, got 'c'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tiny_bert: Path, tmp_path: Path, old: str, new: str, says: str) -> None:
    recipe = read_recipe(str(changed(tmp_path, old, new)))
    with pytest.raises(StepError, match=says):
        text_settings(recipe, ("a", "b"), tiny_bert)


def test_items_of_several_labels_watch_none(tiny_bert: Path, tmp_path: Path) -> None:
    path = changed(tmp_path, "max_tokens = 48", 'max_tokens = 48\nlong_texts = "windows"\nwatch = "a"')
    path.write_text(path.read_text().replace("[data]", '[data]\nproblem = "multi-label"'))
    with pytest.raises(StepError, match="watch is for items with one label each"):
        text_settings(read_recipe(str(path)), ("a", "b"), tiny_bert)


def test_the_recipes_own_image_settings_hold(tmp_path: Path) -> None:
    recipe = read_recipe(str(changed(tmp_path, "", "", "tiny-image")))
    assert image_settings(recipe, tmp_path) is recipe.image
    assert image_settings(read_recipe(str(changed(tmp_path, "", ""))), tmp_path) is None
