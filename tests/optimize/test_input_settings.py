from __future__ import annotations

from pathlib import Path

import pytest

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
