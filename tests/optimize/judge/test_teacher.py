"""A teacher near chance is refused, and one with its labels in another order is told which order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimize.build import Build
from optimize.errors import CheckpointError, GateError
from optimize.judge.teacher import against_chance, better_order, require_teacher
from optimize.pipeline import evaluate
from optimize.recipe import Recipe
from tests.optimize.knowing import LABELS, knowing_bert, write_rows

NUMBERED = ("LABEL_0", "LABEL_1", "LABEL_2")


def sample(
    rows: int, count: int, knows: float, shares: Any = None, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Answers of a teacher that knows a share of the rows and guesses the others; targets; labels."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(count, rows, p=shares)
    answers = np.where(rng.random(rows) < knows, targets, rng.integers(0, count, rows))
    return answers, targets, tuple(f"label {index}" for index in range(count))


@pytest.mark.parametrize(("rows", "count"), [(100, 2), (135, 6), (2000, 2), (2000, 100)])
def test_a_teacher_that_guesses_is_near_chance(rows: int, count: int) -> None:
    refused = [against_chance(*sample(rows, count, 0.0, seed=seed)).near_chance for seed in range(40)]
    assert sum(refused) >= 34


@pytest.mark.parametrize(
    ("rows", "count", "knows", "shares"), [(12, 2, 0.9, None), (20, 6, 0.8, None), (40, 2, 0.97, [0.93, 0.07])]
)
def test_few_rows_refuse_no_good_teacher(rows: int, count: int, knows: float, shares: Any) -> None:
    refused = 0
    for seed in range(200):
        answers, targets, labels = sample(rows, count, knows, shares, seed)
        refused += against_chance(answers, targets, labels).near_chance
        assert better_order(answers, targets, count) is None
    assert refused <= 2


@pytest.mark.parametrize(("rare", "refused"), [(4, False), (10, True), (50, True)])
def test_always_the_most_frequent_label_is_refused_once_the_other_ones_suffice_to_tell(
    rare: int, refused: bool
) -> None:
    targets = np.repeat([0, 1], [500, rare])
    assert against_chance(np.zeros_like(targets), targets, ("ham", "spam")).near_chance is refused


def test_a_teacher_that_was_trained_with_class_weights_is_judged_with_them() -> None:
    targets = np.repeat([0, 1], [960, 40])
    answers = targets.copy()
    answers[:60] = 1  # finds each of the rare ones, and more mistakes than there are rare ones
    assert against_chance(answers, targets, ("ham", "spam")).near_chance
    weighed = against_chance(answers, targets, ("ham", "spam"), "balanced")
    assert (weighed.accuracy, weighed.baseline, weighed.near_chance) == pytest.approx((0.96875, 0.5, False))
    assert against_chance(np.zeros_like(targets), targets, ("ham", "spam"), "balanced").near_chance


@pytest.mark.parametrize("count", [2, 6, 40])
def test_the_order_of_the_labels_is_found(count: int) -> None:
    answers, targets, _ = sample(800, count, 0.8)
    means = np.random.default_rng(3).permutation(count)
    assert better_order(np.argsort(means)[answers], targets, count) == means.tolist()


@pytest.mark.parametrize("knows", [0.0, 0.1, 0.4, 0.9])
def test_the_right_order_is_left_alone(knows: float) -> None:
    for seed in range(20):
        answers, targets, _ = sample(600, 60, knows, seed=seed)
        assert better_order(answers, targets, 60) is None


def build_of(folder: Path, rows: list[tuple[str, str]], checkpoint: Any = None, **tables: Any) -> Build:
    data = {"source": "files", "train": write_rows(folder / "rows.csv", rows), "calibration_size": 8}
    recipe = {
        "name": "knowing",
        "task": "text",
        "checkpoint": {"source": "folder", "path": folder / "bert", **(checkpoint or {})},
        "expert": [{"step": "export"}],
        "screen": [{"step": "export"}],
        "text": {"max_tokens": 48},
        **tables,
        "data": data | tables.get("data", {}),
    }
    return Build(Recipe.model_validate(recipe), root=folder, folder=folder / "build")


def test_a_good_teacher_passes(tmp_path: Path) -> None:
    require_teacher(build_of(tmp_path, knowing_bert(tmp_path / "bert")))


def test_labels_in_another_order_are_proposed_and_the_proposal_is_taken(tmp_path: Path) -> None:
    rows = [(text, {"bill": "loan", "card": "bill", "loan": "card"}[label])
            for text, label in knowing_bert(tmp_path / "bert", NUMBERED)]  # fmt: skip
    with pytest.raises(CheckpointError, match="only numbers its labels"):
        require_teacher(build_of(tmp_path, rows))
    build = build_of(tmp_path, rows, {"trust_label_order": True})
    says = (
        "the teacher is right on 0.0% of the selection set, and would be on 100.0% with its labels in another order; "
        'nothing is made of it. Set labels = ["loan", "bill", "card"] in [data], which is the checkpoint\'s order as '
        "far as these rows tell it"
    )
    with pytest.raises(GateError, match=f"^{re.escape(says)}$"):
        evaluate(build, "a test")
    made = {path.name for path in (tmp_path / "build").iterdir() if path.is_dir()}
    assert {name for name in made if not name.startswith("tokens-")} == {"teacher"}, "no student"
    require_teacher(build_of(tmp_path, rows, data={"labels": ("loan", "bill", "card")}))


def test_names_in_another_order_than_the_heads_ask_for_trust_too(tmp_path: Path) -> None:
    rows = knowing_bert(tmp_path / "bert", ("card", "loan", "bill"))  # named so, and trained as bill, card, loan
    with pytest.raises(GateError, match=r'Set labels = \["bill", "card", "loan"\] .* and trust_label_order = true in'):
        require_teacher(build_of(tmp_path, rows))
    require_teacher(build_of(tmp_path, rows, {"trust_label_order": True}, data={"labels": LABELS}))


def test_a_long_list_of_labels_goes_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.judge.teacher.LABELS_IN_A_MESSAGE", 2)
    rows = [(text, {"bill": "loan", "card": "bill", "loan": "card"}[label])
            for text, label in knowing_bert(tmp_path / "bert", NUMBERED)]  # fmt: skip
    with pytest.raises(GateError, match=r"Set the line that .*/build/labels\.toml holds in") as raised:
        require_teacher(build_of(tmp_path, rows, {"trust_label_order": True}))
    assert "bill" not in str(raised.value)
    assert (tmp_path / "build" / "labels.toml").read_text() == 'labels = ["loan", "bill", "card"]\n'


def test_a_teacher_near_chance_is_refused_with_its_figures(tmp_path: Path) -> None:
    texts = [text for text, _ in knowing_bert(tmp_path / "bert", rows=900)]
    guessed = np.random.default_rng(0).choice(LABELS, len(texts)).tolist()
    says = r"right on \d+\.\d% of the selection set, and always answering '\w+' on \d+\.\d%: it is near chance on these"
    with pytest.raises(GateError, match=says + r" .* labels = \[\.\.\.\] in \[data\]; if it was trained on other data"):
        require_teacher(build_of(tmp_path, list(zip(texts, guessed, strict=True))))


def test_a_training_that_failed_is_refused(tmp_path: Path) -> None:
    rows = knowing_bert(tmp_path / "bert", ("x", "y", "z"))
    teacher = {"step": "fine-tune", "epochs": 1, "learning_rate": 10.0}
    with pytest.raises(
        GateError, match=r"near chance .* the training failed: train longer, with another learning_rate"
    ):
        require_teacher(build_of(tmp_path, rows, teacher=[teacher]))
