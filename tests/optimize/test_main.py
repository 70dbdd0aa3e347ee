from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import optimize

VERBS = ("list", "show", "run", "fine-tune", "distill", "prune", "export", "fuse", "quantize", "evaluate")
VERBS += ("verify", "operating-point", "publish", "profile", "runtimes", "inspect", "new", "score", "export-triton")


def test_help_names_every_verb() -> None:
    said = optimize("--help", fresh=True).stdout
    assert all(f"    {verb}" in said for verb in VERBS)


def test_list_and_show() -> None:
    listed = optimize("list", fresh=True).stdout
    assert len(listed.splitlines()) == 6
    assert "sms-risk" in listed
    shown = optimize("show", "sms-risk").stdout
    assert shown == (Path(__file__).parents[2] / "optimize" / "recipes" / "sms-risk.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "nothing"), "error: nothing: no such recipe"),
        (("run", "nothing"), "error: nothing: no such recipe"),
        (("run", "sms-risc"), "error: sms-risc: no such recipe (did you mean sms-risk?)"),
        (("run", "sms-risk", "--root", "/nowhere"), "error: data /nowhere/sms_train.tsv.gz: there is no such file"),
        (
            ("run", "cifar10", "--root", "/nowhere"),
            "error: checkpoint /nowhere/weights/resnet56-4bfd9763.th: there is no such file",
        ),
    ],
)
def test_an_error_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    extra = ("--build", tmp_path) if arguments[0] == "run" else ()
    done = optimize(*arguments, *extra, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "made"),
    [
        ("fine-tune", {"teacher/fine-tune"}),
        ("distill", {"teacher/fine-tune", "screen/control", "screen/distill"}),
        ("prune", {"teacher/fine-tune", "screen/control", "screen/distill", "screen/prune"}),
    ],
)
def test_a_verb_goes_up_to_its_step(
    tiny_recipes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, verb: str, made: set[str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "verbs"  # shared, so that each verb goes on from the one before it
    said = optimize(verb, tiny_recipes["tiny-image"], "--build", folder).stdout
    done = {line.partition(":")[0] for line in said.splitlines() if "made in" in line or "reused" in line}
    assert done == made


def test_a_student_that_cannot_be_made_is_refused_before_anything_is_trained(
    tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    recipe = tiny_recipes["tiny-text"]
    (tmp_path / "deep.toml").write_text(recipe.read_text().replace("layers = [0, 3]", "layers = [0, 4]"))
    done = optimize("run", tmp_path / "deep.toml", "--root", recipe.parent, "--build", tmp_path / "build", check=False)
    assert done.returncode == 1
    assert done.stderr == "error: distill: layers [0, 4] must lie in 0..3, the layers of the teacher\n"
    assert "made in" not in done.stdout


def test_a_second_run_in_the_same_folder_is_kept_out(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"):
        done = optimize("export", tiny_recipes["tiny-image"], "--build", tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: another run is at work in {tmp_path}; wait for it")


def test_a_step_that_the_recipe_lacks_is_refused(tiny_recipes: dict[str, Path], tmp_path: Path) -> None:
    done = optimize("fuse", tiny_recipes["tiny-image"], "--build", tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: recipe tiny-image has no step 'fuse'; add it to the expert or the screen\n"
    assert not list(tmp_path.rglob("*.onnx"))
