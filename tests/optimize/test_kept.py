"""What recipes keep in a build folder goes when the last form of a recipe that used it is gone, and not before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimize.build import Build
from optimize.kept import FILE, Kept
from optimize.pipeline import tidy_kept
from optimize.recipe import read_recipe
from tests.optimize.knowing import KNOWING_CASCADE, knowing_bert, write_rows

OUTPUTS, TOKENS = "teacher-outputs-0123456789ab", "tokens-train-0123456789ab"


def used(folder: Path, recipe: str, *names: str) -> Kept:
    """What a run of a recipe keeps."""
    kept = Kept(folder, recipe)
    for name in names:
        kept.place(name).mkdir(exist_ok=True)
    return kept


def there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {FILE}


def test_what_only_an_earlier_form_used_is_removed(tmp_path: Path) -> None:
    used(tmp_path, "mine", OUTPUTS, TOKENS)
    (tmp_path / f"{OUTPUTS}.partial").mkdir()
    (tmp_path / "teacher").mkdir()
    used(tmp_path, "mine", TOKENS).remove_others(())
    assert there(tmp_path) == {TOKENS, "teacher"}
    assert json.loads((tmp_path / FILE).read_text()) == {"mine": [TOKENS]}


def test_what_another_recipe_uses_stays_until_it_goes_on_without(tmp_path: Path) -> None:
    used(tmp_path, "mine", OUTPUTS)
    used(tmp_path, "other", OUTPUTS, TOKENS)
    used(tmp_path, "mine").remove_others(())
    assert there(tmp_path) == {OUTPUTS, TOKENS}
    used(tmp_path, "other", TOKENS).remove_others(())
    assert there(tmp_path) == {TOKENS}


def test_what_is_wanted_stays(tmp_path: Path) -> None:
    used(tmp_path, "mine", OUTPUTS, TOKENS)
    used(tmp_path, "mine").remove_others({OUTPUTS, "teacher-outputs-never"})
    assert there(tmp_path) == {OUTPUTS}
    assert json.loads((tmp_path / FILE).read_text()) == {"mine": [OUTPUTS]}


def test_a_file_is_removed_with_what_was_begun_of_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "mine")
    for suffix in (".npy", ".partial.npy"):
        kept.place("teacher-labels-0123456789ab").with_suffix(suffix).touch()
    used(tmp_path, "mine").remove_others(())
    assert there(tmp_path) == set()


@pytest.mark.parametrize("text", ['{"mine": ["..", "teacher", "tokens-*", ""]}', "half a fi"])
def test_nothing_else_is_removed_whatever_the_file_says(tmp_path: Path, text: str) -> None:
    (tmp_path / "teacher").mkdir()
    used(tmp_path, "other", TOKENS)
    (tmp_path / FILE).write_text(text)
    used(tmp_path, "mine").remove_others(())
    assert there(tmp_path) == {"teacher", TOKENS}


RECIPE = f"""
name = "mine"
data = {{ source = "files", train = "rows.csv", calibration_size = 8 }}
{KNOWING_CASCADE}"""


def test_a_changed_recipe_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", knowing_bert(tmp_path / "bert", rows=120))

    def run(recipe: str) -> set[str]:
        (tmp_path / "recipe.toml").write_text(recipe)
        build = Build(read_recipe(str(tmp_path / "recipe.toml")), root=tmp_path, folder=tmp_path / "build")
        build.carry_out()
        tidy_kept(build, build.recipe)
        return {path.name for path in build.folder.iterdir() if path.name.startswith(("tokens-", "teacher-outputs-"))}

    first = run(RECIPE)
    assert {name.rpartition("-")[0] for name in first} == {"tokens-train", "teacher-outputs"}
    assert run(RECIPE) == first, "a step that is reused reads nothing, and may be changed later"
    other = run(RECIPE.replace("epochs = 1", "epochs = 2"))
    assert other == first, "the same texts, and the same outputs of the same teacher"
    changed = run(RECIPE.replace("max_tokens = 48", "max_tokens = 32"))
    assert not changed & first
    assert {name.rpartition("-")[0] for name in changed} == {"tokens-train", "teacher-outputs"}
