from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import RecipeError, StepError
from optimize.recipe import read_recipe, read_steps
from optimize.recipes.shipped import descriptions, shipped_recipes
from tests.tiny_recipes import IMAGE_RECIPE, TEXT_RECIPE

OWN = 'student = { source = "folder", path = "x" }'
NAMES = {"demo-text", "demo-image", "sms-risk", "cifar10", "sst2-bert-base", "imagenet-resnet50"}


def test_every_shipped_recipe_reads_and_describes_itself() -> None:
    assert set(shipped_recipes()) == NAMES
    for name in NAMES:
        recipe = read_recipe(name)
        assert recipe.name == name
        assert len(descriptions()[name]) > 20


def test_hub_sources_are_pinned_by_commit() -> None:
    for name in ("sst2-bert-base", "imagenet-resnet50"):
        assert len(read_recipe(name).checkpoint.revision) == 40
    assert len(read_recipe("sst2-bert-base").data.revision) == 40


def test_the_digest_is_that_of_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT_RECIPE)
    plain = read_recipe(str(path)).digest
    path.write_text("# a comment\n" + TEXT_RECIPE.replace("seed = 3", "seed   =   3"))
    assert read_recipe(str(path)).digest == plain
    path.write_text(TEXT_RECIPE.replace("seed = 3", "seed = 4"))
    assert read_recipe(str(path)).digest != plain


def test_a_recipe_that_cuts_long_texts_has_the_digest_that_it_had_before_there_was_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    digests = []
    for more in ("", 'long_texts = "cut"', 'long_texts = "windows"', 'long_texts = "windows"\nwatch = "spam"'):
        path.write_text(TEXT_RECIPE.replace("max_tokens = 48", f"max_tokens = 48\n{more}"))
        recipe = read_recipe(str(path))
        digests.append(recipe.digest)
        assert (recipe.text.model_dump() == {"max_tokens": 48}) is (recipe.text.long_texts == "cut")
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_recipe_for_single_texts_has_the_digest_that_it_had_before_there_were_pairs(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT_RECIPE)
    single = read_recipe(str(path))
    assert "text_pair_column" not in single.data.model_dump()
    path.write_text(TEXT_RECIPE.replace("[text]", 'text_pair_column = "text_pair"\n\n[text]'))
    assert read_recipe(str(path)).digest != single.digest
    assert (single.data.pairs, read_recipe(str(path)).data.pairs) == (False, True)


@pytest.mark.parametrize(
    ("recipe", "old", "new", "says"),
    [
        (
            TEXT_RECIPE,
            "max_tokens = 48",
            'long_texts = "windows"',
            "text.long_texts: windows over two texts would show",
        ),
        (
            IMAGE_RECIPE,
            'source = "digits"',
            'source = "hub"\nid = "a/b"',
            "pairs are of texts; leave it out of an image",
        ),
    ],
)
def test_pairs_that_make_no_sense_are_refused(tmp_path: Path, recipe: str, old: str, new: str, says: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(recipe.replace(old, new).replace("[data]", '[data]\ntext_pair_column = "text_pair"'))
    with pytest.raises(RecipeError, match=says):
        read_recipe(str(path))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seed = 3", "sead = 3", "sead: there is no such key .* remove it or mend its spelling"),
        ("seed = 3", 'seed = "x"', r"seed: .*valid integer.*, got 'x' \(str\); see `python -m optimize show"),
        ("seed = 3", "seed = -1", r"seed: .*greater than or equal to 0, got -1 \(int\)"),
        ("epochs = 16\n", "", "teacher.0.epochs: this key is needed and is missing; add it"),
        ("epochs = 16\n", "epochs = 0\n", r"teacher.0.epochs: .*greater than or equal to 1, got 0 \(int\)"),
        ("heads_share = 0.5", "heads_share = 1.5", r"screen.1.prune.heads_share: .*less than 1, got 1.5 \(float\)"),
        ('source = "folder"', 'source = "ftp"', "checkpoint: .*'folder'"),
        ('name = "tiny-text"', 'name = "Tiny Text"', "name: .*pattern"),
        ('source = "folder"', 'source = "state-dict"', "checkpoint: the source state-dict is for images; name a text"),
        ('[[expert]]\nstep = "export"\n', "", "expert: steps must come in the order .* got quantize"),
        ('[[expert]]\nstep = "quantize"', '[[expert]]\nstep = "quantize"\n' * 2, "expert: a step stands twice"),
        # The second makes what the first makes beside its own result.
        ('ways = ["dynamic"]', '[[expert]]\nstep = "quantize"\nways = ["static"]', "expert: a step stands twice"),
        ('ways = ["dynamic"]', "ways = []", "at least 1 item"),
        ('[[screen]]\nstep = "distill"', '[[screen]]\nstep = "prune"', "screen"),
        ("[text]", "[text", "is not TOML"),
        ("max_tokens = 48", 'long_texts = "tail"', r"text.long_texts: .*'cut' or 'windows', got 'tail' \(str\)"),
        ("max_tokens = 48", 'watch = "spam"', 'text: watch needs long_texts = "windows"; add it, or leave watch out'),
        ("layers = [0, 3]", 'student = "x.pth"', "distill: the student's source state-dict is for images; name a text"),
        ("layers = [0, 3]", 'student = { source = "ftp" }', "screen.0.distill.student.checkpoint: .*'folder'"),
        ("layers = [0, 3]", 'student = { source = "folder" }', "distill.student.checkpoint.folder.path: .* needed and"),
        (
            "layers = [0, 3]",
            f"{OWN}\nhidden_weight = 0.1",
            "hidden_weight must be 0 for a student from a checkp",
        ),
    ],
)
def test_what_is_wrong_is_named_with_rule_value_and_remedy(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "recipe.toml"
    assert old in TEXT_RECIPE
    path.write_text(TEXT_RECIPE.replace(old, new, 1))
    with pytest.raises(RecipeError, match=says) as error:
        read_recipe(str(path))
    assert str(path) in str(error.value)


def test_a_student_of_its_own_follows_no_hidden_states_in_any_step(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    own = TEXT_RECIPE.replace("layers = [0, 3]", OWN)
    path.write_text(own)
    distill, prune = read_recipe(str(path)).screen[:2]
    assert (distill.hidden_weight, prune.hidden_weight) == (0.0, 0.1)  # type: ignore[attr-defined]
    (again,) = read_steps([distill.model_dump(mode="json")])
    assert again == distill, "as a manifest keeps it"
    for wrong in (
        own.replace("heads_share = 0.5", "heads_share = 0.5\nhidden_weight = 0.2"),
        own + '[search.space]\n"prune.hidden_weight" = [0.2]\n',
        own + '[search.space]\n"distill.hidden_weight" = [0.2]\n',
    ):
        path.write_text(wrong)
        with pytest.raises(RecipeError, match=r"hidden_weight .* mean other things.*leave it out"):
            read_recipe(str(path))


def test_a_search_may_choose_the_student_and_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    table = OWN.partition(" = ")[2]
    path.write_text(TEXT_RECIPE + f'[search.space]\n"distill.student" = [{table}]\n"distill.layers" = [[0], [1]]\n')
    recipe = read_recipe(str(path))
    sources = [step.starts_from for steps in recipe.possible_stages for step in steps if step.step == "distill"]
    assert [None if source is None else source.source for source in sources] == [None, "folder", None, None]
    path.write_text(path.read_text().replace('"folder", path = "x"', '"state-dict", path = "x"'))
    with pytest.raises(RecipeError, match="distill: the student's source state-dict is for images"):
        read_recipe(str(path))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"sms: no such recipe; give the path .* cifar10, demo-image"):
        read_recipe("sms")


def test_a_teacher_that_labels_the_rows_is_not_trained_on_them(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT_RECIPE.replace('train = "messages.csv"', 'train = "messages.csv"\nlabels = "teacher"'))
    with pytest.raises(
        RecipeError, match=r'labels = "teacher" takes the answers of a head .* leave \[\[teacher\]\] out'
    ):
        read_recipe(str(path))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epochs = 16", "epochs = 16\nclass_weights = { Spam = 9.0, ham = 1.0 }", "class_weights must .*, got 'Spam'"),
        (
            "[quality.cascade]",
            '[quality.cascade]\nwatch_labels = ["scam"]',
            r"quality.cascade.watch_labels must .* 'scam'",
        ),
    ],
)
def test_labels_that_a_recipe_names_must_be_there(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT_RECIPE.replace(old, new, 1))
    recipe = read_recipe(str(path))
    recipe.require_labels(("Spam", "ham", "scam"))
    with pytest.raises(StepError, match=f"{says}; name some of its 2, such as 'ham'"):
        recipe.require_labels(("ham", "spam"))


def test_image_settings_may_be_left_out_where_the_checkpoint_can_bring_them(tmp_path: Path) -> None:
    table = '[image]\nwidth = 8\nheight = 8\nmode = "L"\nmean = [0.306]\nstd = [0.376]\n'
    assert table in IMAGE_RECIPE
    path = tmp_path / "recipe.toml"
    path.write_text(IMAGE_RECIPE.replace(table, ""))
    with pytest.raises(RecipeError, match=r"brings no settings for images needs the table \[image\] .* demo-image"):
        read_recipe(str(path))
    fresh = IMAGE_RECIPE[IMAGE_RECIPE.index("source") : IMAGE_RECIPE.index("[data]")]
    path.write_text(path.read_text().replace(fresh, 'source = "folder"\npath = "my-resnet"\n\n'))
    assert read_recipe(str(path)).image is None


def test_a_long_value_is_not_printed_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT_RECIPE.replace("seed = 3", f"seed = 3\nsead = {['a row of a user'] * 500}"))
    with pytest.raises(RecipeError, match="sead: there is no such key") as caught:
        read_recipe(str(path))
    assert len(str(caught.value)) < 400
